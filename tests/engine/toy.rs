//! The bilevel toy of the paper's figure 2, through the engine and the hypergradients of a real search.
#![cfg(feature = "torch")]

use crate::common::{Formula, Whole, batch};
use pydarts::config::{ArchOptimizer, Method, Order};
use pydarts::data::Batch;
use pydarts::nn::Role;
use pydarts::optim::{Adam, Sgd};
use pydarts::schedule::Schedule;
use pydarts::search::{State, StepSettings, step};
use tch::{Kind, Tensor};

/// L_val = αw − 2α + 1 on batch 0, L_train = w² − 2αw + α² on batch 1.
fn toy() -> Formula<impl Fn(&Tensor, &Tensor, &Batch) -> Tensor> {
    Formula::new(1, 1, |w: &Tensor, alpha: &Tensor, batch: &Batch| {
        let valid = alpha * w - alpha * 2.0 + 1.0;
        let train = w * w - alpha * w * 2.0 + alpha * alpha;
        (if batch.inputs.double_value(&[0]) == 0.0 { valid } else { train }).sum(Kind::Double)
    })
}

fn settings(method: Method, arch_lr: f64) -> StepSettings {
    StepSettings {
        measures_samples: false,
        probe_every: None,
        probes: false,
        estimator: method.into(),
        epsilon: 0.01,
        sgd: Sgd { momentum: 0.0, clip: None, nesterov: false },
        weight_decay: Schedule::Constant(0.0),
        adam: Adam { lr: arch_lr, betas: (0.0, 0.999), weight_decay: 0.0 },
        virtual_clip: None,
        arch_optimizer: ArchOptimizer::Adam,
        arch_clip: None,
        order: Order::ArchFirst,
    }
}

/// α after many steps from (α, w) = (2, −2). With ξ = 0 the weight step still needs a learning rate.
fn fixed_point(method: Method, xi: f64) -> f64 {
    let network = toy();
    let whole = Whole::identity(&network);
    let start = |x: f64| Tensor::from_slice(&[x]);
    let mut state = State::new(start(-2.0), start(2.0)).unwrap();
    let (train, valid) = (batch(start(1.0)), batch(start(0.0)));
    for phase in 0..5 {
        // Adam takes steps of about its learning rate, so it shrinks from phase to phase.
        let arch_lr = 0.02 * 0.1f64.powi(phase);
        let lr = if xi == 0.0 { 0.1 } else { xi };
        for _ in 0..400 {
            step(whole.relaxed(), &mut state, &train, Some(&valid), &settings(method, arch_lr), lr).unwrap();
        }
    }
    state.alpha.double_value(&[0])
}

#[test]
fn first_order_converges_to_the_suboptimal_point() {
    assert!((fixed_point(Method::FirstOrder, 0.0) - 2.0).abs() < 1e-3);
}

#[test]
fn unrolled_converges_to_two_over_one_plus_two_xi() {
    for xi in [0.1, 0.5] {
        for method in [Method::Unrolled, Method::UnrolledExact] {
            let (found, expected) = (fixed_point(method, xi), 2.0 / (1.0 + 2.0 * xi));
            assert!((found - expected).abs() < 1e-3, "ξ = {xi}, {method:?}: α = {found}, expected {expected}");
        }
    }
}

#[test]
fn the_hypergradient_of_the_toy_is_the_one_derived_by_hand() {
    use pydarts::search::hypergradient::{Losses, VirtualStep, arch_gradient};
    let network = toy();
    let whole = Whole::identity(&network);
    let (alpha, w, xi) = (1.7, -0.4, 0.3);
    let (train, valid) = (batch(Tensor::from_slice(&[1.0])), batch(Tensor::from_slice(&[0.0])));
    let losses = Losses { network: whole.relaxed(), train: Some(&train), valid: &valid, valid_role: Role::Alpha };
    let length = Tensor::from(xi);
    let decay = Tensor::from(0.0);
    let step = VirtualStep {
        xi: &length,
        momentum: 0.0,
        buffer: None,
        weight_decay: &decay,
        clip: None,
        epsilon: 0.01,
        untouched: None,
    };
    // w′ = w − 2ξ(w − α); dL_val/dα = w′ − 2 + α·dw′/dα = w′ − 2 + 2ξα.
    let expected = w - 2.0 * xi * (w - alpha) - 2.0 + 2.0 * xi * alpha;
    for method in [Method::Unrolled, Method::UnrolledExact] {
        let found = arch_gradient(method, &losses, &Tensor::from_slice(&[w]), &Tensor::from_slice(&[alpha]), &step);
        let found = found.unwrap().gradient.double_value(&[0]);
        assert!((found - expected).abs() < 1e-10, "{method:?}: {found}, expected {expected}");
    }
}
