//! One search step: a step with values that are not finite is rolled back and names them.
#![cfg(feature = "torch")]

use std::sync::Arc;

use crate::common::{Formula, Whole, batch};
use crate::options;
use pydarts::config::{Method, SearchConfig};
use pydarts::data::Batch;
use pydarts::error::{Error, ErrorKind, Result};
use pydarts::nn::{Criterion, Network, NetworkOptions, Supernet};
use pydarts::plan::{Geometry, Plan};
use pydarts::random;
use pydarts::schedule::Schedule;
use pydarts::search::{State, StepSettings, step};
use tch::{Device, Kind, Reduction, Tensor};

/// Everything that a step moves, copied.
fn everything(network: &dyn Network, state: &State) -> Vec<Tensor> {
    let own = [&state.w, &state.alpha, &state.momentum, &state.moments.exp_avg, &state.moments.exp_avg_sq];
    let mut all: Vec<Tensor> = own.into_iter().map(Tensor::copy).collect();
    let statistics = network.buffers().map(|buffers| buffers.named().unwrap());
    all.extend(statistics.into_iter().flatten().map(|(_, tensor)| tensor));
    all
}

fn assert_equal(one: &[Tensor], other: &[Tensor], what: &str) {
    assert!(one.iter().zip(other).all(|(one, other)| one.equal(other)), "{what}");
}

/// Cross-entropy that returns an error for label 2.
struct Fussy;

impl Criterion for Fussy {
    fn loss(&self, logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
        match targets.eq(2).any().int64_value(&[]) {
            0 => Ok(logits.f_cross_entropy_loss(targets, None::<Tensor>, Reduction::Mean, -100, 0.0)?),
            _ => Err(Error::new(ErrorKind::Foreign, "no label 2, please")),
        }
    }
}

fn images(purpose: &str, label: i64) -> Batch {
    let x = Tensor::from_slice(&random::normal(5, purpose, 0, 4 * 64)).view([4, 1, 8, 8]);
    Batch::new(x, Tensor::from_slice(&[0i64, 1, 0, label]))
}

#[test]
fn a_bad_step_of_a_supernet_is_rolled_back_with_its_running_statistics() {
    tch::set_num_threads(1);
    let (kind, device) = (Kind::Double, Device::Cpu);
    let config = SearchConfig::from_json(r#"{"nodes": 2, "operations": ["skip_connect", "max_pool_3x3"]}"#).unwrap();
    let geometry = Geometry { channels: 2, layers: 3, num_classes: 3, in_channels: 1, image_size: (8, 8) };
    let options = NetworkOptions { criterion: Some(Arc::new(Fussy)), ..options::plain(kind) };
    let network = Supernet::new(Plan::lower(&config.space, &geometry).unwrap(), options).unwrap();
    assert!(network.uncapturable().is_some(), "a loss of the user may behave differently at each call");
    let whole = Whole::of(&network, &config);
    let mut state = State::initial(network.plan(), pydarts::config::ArchInit::default(), 1, kind, device).unwrap();
    let infinite = |mut batch: Batch| {
        let _ = batch.inputs.get(0).fill_(f64::INFINITY);
        batch.inputs = batch.inputs.copy();
        batch
    };
    for method in [Method::FirstOrder, Method::Unrolled, Method::UnrolledExact] {
        let settings = StepSettings { estimator: method.into(), ..StepSettings::new(&config) };
        let (train, valid) = (images("train", 1), images("valid", 1));
        step(whole.relaxed(), &mut state, &train, Some(&valid), &settings, 0.1).unwrap();
        let (before, counts) = (everything(&network, &state), (state.step, state.moments.step));
        for (train, valid, kind) in [
            (infinite(images("train", 1)), images("valid", 1), ErrorKind::Numerical),
            (images("train", 1), infinite(images("valid", 1)), ErrorKind::Numerical),
            // The criterion fails in the weight step, when α and running statistics have moved.
            (images("train", 2), images("valid", 1), ErrorKind::Foreign),
            (images("train", 1), images("valid", 2), ErrorKind::Foreign),
        ] {
            let error = step(whole.relaxed(), &mut state, &train, Some(&valid), &settings, 0.1).unwrap_err();
            assert_eq!(error.kind, kind, "{method:?}: {error}");
            assert_equal(&before, &everything(&network, &state), &format!("{method:?}: {error}"));
            assert_eq!(counts, (state.step, state.moments.step));
        }
        step(whole.relaxed(), &mut state, &train, Some(&valid), &settings, 0.1).unwrap();
        assert_eq!((state.step, state.moments.step), (counts.0 + 1, counts.1 + 1), "a good step follows");
    }
}

#[test]
fn the_error_names_the_first_scalar_that_is_not_finite() {
    // √x at 0 is finite, its derivative is not.
    let network = Formula::new(1, 1, |w: &Tensor, alpha: &Tensor, batch: &Batch| {
        let factor = batch.inputs.double_value(&[1]);
        let moved = match batch.inputs.double_value(&[0]) as i64 {
            0 => (w + alpha).square(),
            1 => (alpha * factor).sqrt() + w * 0.0,
            2 => (w * factor).sqrt() + alpha * 0.0,
            _ => w * alpha * factor,
        };
        moved.sum(None)
    });
    let whole = Whole::identity(&network);
    let of = |formula: f64, factor: f64| batch(Tensor::from_slice(&[formula, factor]));
    let settings = StepSettings { estimator: Method::FirstOrder.into(), ..StepSettings::new(&SearchConfig::default()) };
    for (train, valid, what) in [
        (of(0.0, 0.0), of(3.0, f64::NAN), "the validation loss became NaN at step 0"),
        (of(3.0, f64::NAN), of(3.0, f64::INFINITY), "the validation loss became inf at step 0"),
        (of(3.0, f64::NAN), of(1.0, 0.0), "the gradient of α became NaN at step 0"),
        (of(3.0, f64::NEG_INFINITY), of(0.0, 0.0), "the training loss became -inf at step 0"),
        (of(2.0, 0.0), of(0.0, 0.0), "the gradient of w became NaN at step 0"),
    ] {
        let mut state = State::new(Tensor::from_slice(&[1.0]), Tensor::from_slice(&[2.0])).unwrap();
        let before = everything(&network, &state);
        let error = step(whole.relaxed(), &mut state, &train, Some(&valid), &settings, 0.1).unwrap_err();
        assert!(error.kind == ErrorKind::Numerical && error.detail.starts_with(what), "{what}: {error}");
        assert_equal(&before, &everything(&network, &state), what);
    }
}

#[test]
fn a_step_that_makes_a_parameter_infinite_is_rolled_back() {
    // The loss and its gradients are finite whatever w and α are; decay alone makes the new values infinite.
    let network =
        Formula::new(1, 1, |w: &Tensor, alpha: &Tensor, _: &Batch| (w.clamp(-1, 1) * alpha.clamp(-1, 1)).sum(None));
    let whole = Whole::identity(&network);
    let mut settings =
        StepSettings { estimator: Method::FirstOrder.into(), ..StepSettings::new(&SearchConfig::default()) };
    settings.weight_decay = Schedule::Constant(2.0);
    let batch = batch(Tensor::zeros([2], (Kind::Double, Device::Cpu)));
    for (w, alpha, what) in [
        (1.0, f64::INFINITY, "the magnitude of α became NaN at step 0"),
        (1.0, f64::NEG_INFINITY, "the magnitude of α became NaN at step 0"),
        (f64::MAX, 1.0, "the magnitude of w became inf at step 0"),
    ] {
        let mut state = State::new(Tensor::from_slice(&[w]), Tensor::from_slice(&[alpha])).unwrap();
        let before = everything(&network, &state);
        let error = step(whole.relaxed(), &mut state, &batch, Some(&batch), &settings, 1.0).unwrap_err();
        assert!(error.kind == ErrorKind::Numerical && error.detail.starts_with(what), "{what}: {error}");
        assert_equal(&before, &everything(&network, &state), what);
        assert_eq!((state.step, state.moments.step), (0, 0));
    }
}

#[test]
fn alpha_does_not_move_without_a_validation_batch() {
    let network = Formula::new(1, 1, |w: &Tensor, alpha: &Tensor, _: &Batch| (w * alpha).square().sum(None));
    let whole = Whole::identity(&network);
    let mut state = State::new(Tensor::from_slice(&[1.0]), Tensor::from_slice(&[2.0])).unwrap();
    let settings = StepSettings::new(&SearchConfig::default());
    let outcome = step(
        whole.relaxed(),
        &mut state,
        &batch(Tensor::zeros([2], (Kind::Double, Device::Cpu))),
        None,
        &settings,
        0.1,
    );
    assert_eq!(outcome.unwrap().valid_loss, None);
    assert_eq!((state.step, state.moments.step), (1, 0));
    assert!(state.alpha.double_value(&[0]) == 2.0 && state.w.double_value(&[0]) != 1.0);
}
