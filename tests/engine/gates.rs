//! The CPU kernel of gate mixtures against libtorch's operations.
#![cfg(feature = "torch")]

use proptest::prelude::*;
use pydarts::nn::GateMixture;
use pydarts::random;
use pydarts::space::Operation;
use tch::{Kind, Tensor};

const ACTIVATIONS: [Operation; 4] = [Operation::Tanh, Operation::Relu, Operation::Sigmoid, Operation::Identity];

fn draw(purpose: &str, shape: &[i64], scale: f64) -> Tensor {
    let n = shape.iter().product::<i64>() as usize;
    Tensor::from_slice(&random::normal(5, purpose, 0, n)).view(shape) * scale
}

/// Σ_jk p_jk·(s_j + σ(c_j)·(f_k(u_j) − s_j)), term by term.
fn reference(activations: &[(usize, Operation)], s: &Tensor, gates: &Tensor, p: &Tensor) -> Tensor {
    let states = p.size()[0];
    let by_state = |x: &Tensor| x.reshape([states, -1, s.size()[1]]);
    let halves = gates.chunk(2, 1);
    let (s, c, u) = (by_state(s), by_state(&halves[0]), by_state(&halves[1]));
    let mut sum = Tensor::zeros_like(&s);
    for (column, (_, activation)) in activations.iter().enumerate() {
        let value = match activation {
            Operation::Tanh => u.tanh(),
            Operation::Relu => u.relu(),
            Operation::Sigmoid => u.sigmoid(),
            _ => u.shallow_clone(),
        };
        let gated = &s + c.sigmoid() * (value - &s);
        sum += p.select(1, column as i64).view([-1, 1, 1]) * gated;
    }
    sum.sum_dim_intlist([0i64].as_slice(), false, None::<Kind>)
}

/// `size`: the size of the terms, which may cancel in the sum.
fn close(what: &str, found: &Tensor, expected: &Tensor, size: f64, tolerance: f64) {
    let expected = expected.to_kind(Kind::Double);
    let scale = expected.abs().max().double_value(&[]).max(size);
    let error = (found.to_kind(Kind::Double) - expected).abs().max().double_value(&[]) / scale;
    assert!(error < tolerance, "{what}: off by {error:e}");
}

fn check(kind: Kind, activations: &[(usize, Operation)], [states, batch, units]: [i64; 3], scale: f64, tolerance: f64) {
    let leaf = |x: Tensor| x.set_requires_grad(true);
    let s = leaf(draw("s", &[states * batch, units], scale));
    let gates = leaf(draw("gates", &[states * batch, 2 * units], scale));
    let p = leaf(draw("p", &[states, activations.len() as i64], 1.0));
    let g = draw("g", &[batch, units], 1.0);
    let expected = reference(activations, &s, &gates, &p);
    let gradients = Tensor::run_backward(&[(&expected * &g).sum(Kind::Double)], &[&s, &gates, &p], false, false);
    let given = |x: &Tensor| x.detach().to_kind(kind);
    let size = p.abs().sum(Kind::Double).double_value(&[]) * scale.max(1.0);
    let mixture = GateMixture::new(activations, &given(&s), &given(&gates), &given(&p)).unwrap();
    let [value, by_state, by_gate] = mixture.value().unwrap();
    close("value", &value, &expected.detach(), size, tolerance);
    let chained = |x: &Tensor, width: i64| {
        (x.view([states, batch, -1, units]) * g.to_kind(kind).unsqueeze(1)).reshape([-1, width])
    };
    close("by states", &chained(&by_state, units), &gradients[0], size, tolerance);
    close("by gates", &chained(&by_gate, 2 * units), &gradients[1], size, tolerance);
    let weight_gradients = GateMixture::weight_gradients(&[(&mixture, &given(&g))]).unwrap();
    close("by weights", &weight_gradients[0], &gradients[2], scale.max(1.0) * g.numel() as f64, tolerance);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn values_and_derivatives_equal_those_of_libtorch(
        states in 1i64..6, batch in 1i64..5, units in 1i64..40,
        activations in proptest::sample::subsequence(ACTIVATIONS.to_vec(), 1..=4).prop_shuffle(),
        scale in prop_oneof![Just(1e-4), Just(1.0), Just(30.0)],
    ) {
        let activations: Vec<(usize, Operation)> = activations.into_iter().enumerate().collect();
        check(Kind::Double, &activations, [states, batch, units], scale, 1e-13);
        check(Kind::Float, &activations, [states, batch, units], scale, 1e-6);
    }
}

#[test]
fn nan_propagates_and_large_numbers_saturate() {
    let activations: Vec<(usize, Operation)> = ACTIVATIONS.into_iter().enumerate().collect();
    let s = Tensor::from_slice(&[0.5f32, 0.5, 0.5]).view([1, 3]);
    let gates = Tensor::from_slice(&[1e4f32, -1e4, 0.0, -1e4, 1e4, f32::NAN]).view([1, 6]);
    let p = Tensor::from_slice(&[1.0f32, 0.0, 0.0, 0.0]).view([1, 4]);
    let [value, ..] = GateMixture::new(&activations, &s, &gates, &p).unwrap().value().unwrap();
    assert_eq!(value.double_value(&[0, 0]), -1.0);
    assert_eq!(value.double_value(&[0, 1]), 0.5);
    assert!(value.double_value(&[0, 2]).is_nan());
}

#[test]
fn small_numbers_keep_their_bits() {
    // 2·σ(2u) − 1 would round to 0 here.
    let activations = [(0, Operation::Tanh)];
    let s = Tensor::from_slice(&[0.0f32]).view([1, 1]);
    let gates = Tensor::from_slice(&[0.0f32, 1e-9]).view([1, 2]);
    let p = Tensor::from_slice(&[1.0f32]).view([1, 1]);
    let [value, ..] = GateMixture::new(&activations, &s, &gates, &p).unwrap().value().unwrap();
    assert!((value.double_value(&[0, 0]) / 0.5e-9 - 1.0).abs() < 1e-6);
}
