//! The CPU kernel of a decoder's cross-entropy against libtorch's operations.
#![cfg(feature = "torch")]

use proptest::prelude::*;
use pydarts::error::ErrorKind;
use pydarts::nn::{Decoder, DecoderLoss};
use pydarts::random;
use tch::{Kind, Reduction, Tensor};

fn draw(purpose: &str, shape: &[i64]) -> Tensor {
    let n = shape.iter().product::<i64>() as usize;
    Tensor::from_slice(&random::normal(5, purpose, 0, n)).view(shape)
}

struct Case {
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    targets: Tensor,
    mask: Option<Tensor>,
}

fn case([tokens, batch, units, words]: [i64; 4], scale: f64, dropped: Option<f64>) -> Case {
    let mask = dropped.map(|share| {
        let drawn = random::uniform(5, "mask", 0, (batch * units) as usize, 0.0, 1.0);
        let kept: Vec<f64> = drawn.into_iter().map(|number| if number < share { 0.0 } else { 2.0 }).collect();
        Tensor::from_slice(&kept).view([batch, units])
    });
    let x = draw("x", &[tokens, batch, units]) * scale;
    let numbers = random::uniform(5, "targets", 0, (tokens * batch) as usize, 0.0, words as f64);
    let targets: Vec<i64> = numbers.into_iter().map(|number| number as i64).collect();
    Case {
        x: mask.as_ref().map_or(x.shallow_clone(), |mask| &x * mask),
        weight: draw("weight", &[words, units]),
        bias: draw("bias", &[words]),
        targets: Tensor::from_slice(&targets).view([tokens, batch]),
        mask,
    }
}

impl Case {
    fn loss(&self, kind: Kind, differentiate: bool) -> DecoderLoss {
        let [x, weight, bias] = [&self.x, &self.weight, &self.bias].map(|tensor| tensor.to_kind(kind));
        let mask = self.mask.as_ref().map(|mask| mask.to_kind(kind));
        Decoder { weight: &weight, bias: &bias }.loss(&x, &self.targets, mask.as_ref(), differentiate).unwrap()
    }
}

fn close(what: &str, found: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(found.size(), expected.size(), "{what}");
    let scale = expected.abs().max().double_value(&[]).max(1e-3);
    let error = (found.to_kind(Kind::Double) - expected).abs().max().double_value(&[]) / scale;
    assert!(error < tolerance, "{what}: off by {error:e}");
}

fn check(case: &Case, kind: Kind, tolerance: f64) {
    let leaf = |tensor: &Tensor| tensor.copy().set_requires_grad(true);
    let [x, weight, bias] = [&case.x, &case.weight, &case.bias].map(leaf);
    let logits = x.linear(&weight, Some(&bias)).flatten(0, 1);
    let targets = case.targets.flatten(0, 1);
    let loss = logits.cross_entropy_loss(&targets, None::<Tensor>, Reduction::Mean, -100, 0.0);
    let gradients = Tensor::run_backward(&[&loss], &[&x, &weight, &bias], false, false);
    let found = case.loss(kind, true);
    close("loss", &found.loss, &loss.detach(), tolerance);
    let correct = logits.argmax(-1, false).eq_tensor(&targets).sum(Kind::Int64);
    assert_eq!(found.correct.int64_value(&[]), correct.int64_value(&[]));
    // No gradient passes where the mask is zero.
    let x_gradient = case.mask.as_ref().map_or(gradients[0].copy(), |mask| &gradients[0] * mask.not_equal(0.0));
    close("by x", &found.x_gradient, &x_gradient, tolerance);
    let [weight_gradient, bias_gradient] = found.decoder_gradients.unwrap();
    close("by weight", &weight_gradient, &gradients[1], tolerance);
    close("by bias", &bias_gradient, &gradients[2], tolerance);
    let without = case.loss(kind, false);
    assert!(without.decoder_gradients.is_none());
    assert!(without.x_gradient.equal(&found.x_gradient) && without.loss.equal(&found.loss));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn losses_and_gradients_equal_those_of_libtorch(
        tokens in 1i64..5, batch in 1i64..5, units in 1i64..9, words in 1i64..100,
        scale in prop_oneof![Just(1e-3), Just(1.0), Just(30.0)],
        dropped in prop_oneof![Just(None), Just(Some(0.5)), Just(Some(1.0))],
    ) {
        let case = case([tokens, batch, units, words], scale, dropped);
        check(&case, Kind::Double, 1e-11);
        check(&case, Kind::Float, 1e-4);
    }
}

#[test]
fn rows_beyond_one_chunk_are_included() {
    // More logits than are computed at once.
    check(&case([40, 30, 3, 2000], 1.0, None), Kind::Double, 1e-11);
}

#[test]
fn a_target_out_of_range_is_an_error_and_nan_propagates() {
    let case = case([2, 3, 4, 5], 1.0, None);
    let _ = case.x.select(0, 0).fill_(f64::NAN);
    assert!(case.loss(Kind::Float, false).loss.double_value(&[]).is_nan());
    let _ = case.targets.select(0, 1).fill_(5);
    let decoder = Decoder { weight: &case.weight, bias: &case.bias };
    let refused = decoder.loss(&case.x, &case.targets, None, false).err().unwrap();
    assert_eq!(refused.kind, ErrorKind::Data);
    assert!(refused.detail.contains("[0, 4]"), "{refused}");
}
