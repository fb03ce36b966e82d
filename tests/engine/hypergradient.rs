//! Hypergradients on a smooth network: the error of the finite difference is of order ε², and no method writes to its
//! arguments.
#![cfg(feature = "torch")]

use crate::common::{Formula, Whole, batch};
use pydarts::config::Method;
use pydarts::data::Batch;
use pydarts::nn::{Mode, Network, Role};
use pydarts::random;
use pydarts::search::hypergradient::{Losses, VirtualStep, arch_gradient};
use tch::Tensor;

const WEIGHTS: usize = 12;
const ALPHAS: usize = 4;

/// Mean over rows x of a tanh network whose units are scaled by softmax(α): smooth in w and α.
fn smooth() -> Formula<impl Fn(&Tensor, &Tensor, &Batch) -> Tensor> {
    Formula::new(WEIGHTS, ALPHAS, |w: &Tensor, alpha: &Tensor, batch: &Batch| {
        let hidden = batch.inputs.matmul(&w.view([3, 4])).tanh() * alpha.softmax(-1, None);
        (hidden.sum_dim_intlist([1i64].as_slice(), false, None).exp() - 1.0).square().mean(None)
    })
}

fn draw(purpose: &str, n: usize) -> Tensor {
    Tensor::from_slice(&random::normal(3, purpose, 0, n))
}

struct Case {
    w: Tensor,
    alpha: Tensor,
    buffer: Tensor,
    train: Batch,
    valid: Batch,
}

fn case() -> Case {
    Case {
        w: draw("w", WEIGHTS),
        alpha: draw("alpha", ALPHAS),
        buffer: draw("buffer", WEIGHTS),
        train: batch(draw("train", 15).view([5, 3])),
        valid: batch(draw("valid", 15).view([5, 3])),
    }
}

fn gradient(case: &Case, method: Method, epsilon: f64, clip: Option<f64>) -> Tensor {
    let network = smooth();
    let whole = Whole::identity(&network);
    let losses =
        Losses { network: whole.relaxed(), train: Some(&case.train), valid: &case.valid, valid_role: Role::Alpha };
    let xi = Tensor::from(0.1);
    let decay = Tensor::from(3e-4);
    let step = VirtualStep {
        xi: &xi,
        momentum: 0.9,
        buffer: Some(&case.buffer),
        weight_decay: &decay,
        clip,
        epsilon,
        untouched: None,
    };
    arch_gradient(method, &losses, &case.w, &case.alpha, &step).unwrap().gradient
}

fn norm(t: &Tensor) -> f64 {
    t.norm().double_value(&[])
}

#[test]
fn the_finite_difference_approaches_the_exact_product_with_the_square_of_epsilon() {
    let case = case();
    for clip in [None, Some(0.05)] {
        let exact = gradient(&case, Method::UnrolledExact, 1.0, clip);
        let error = |epsilon: f64| norm(&(gradient(&case, Method::Unrolled, epsilon, clip) - &exact));
        let (coarse, fine) = (error(1e-1), error(1e-2));
        let order = (coarse / fine).log10();
        assert!((order - 2.0).abs() < 0.1, "clip {clip:?}: errors {coarse:e}, {fine:e}: order {order}");
    }
}

#[test]
fn the_exact_hypergradient_is_the_derivative_of_the_validation_loss_after_the_virtual_step() {
    // dL_val(w′(α), α)/dα by central differences of the whole composition, without any second derivative.
    let case = case();
    let network = smooth();
    let value = |alpha: &Tensor| {
        let w = case.w.copy().set_requires_grad(true);
        let train = network.loss(&w, alpha, &case.train, Mode::Search).unwrap().value;
        let g = &Tensor::run_backward(&[train], &[&w], false, false)[0];
        let stepped = (&case.w - (g + &case.buffer * 0.9 + &case.w * 3e-4) * 0.1).detach();
        network.loss(&stepped, alpha, &case.valid, Mode::Search).unwrap().value.double_value(&[])
    };
    let exact = gradient(&case, Method::UnrolledExact, 1.0, None);
    for i in 0..ALPHAS as i64 {
        let h = 1e-5;
        let moved = |by: f64| {
            let alpha = case.alpha.copy();
            let _ = alpha.get(i).g_add_scalar_(by);
            value(&alpha)
        };
        let numeric = (moved(h) - moved(-h)) / (2.0 * h);
        let found = exact.double_value(&[i]);
        assert!((numeric - found).abs() < 1e-8, "α[{i}]: {found}, numerically {numeric}");
    }
}

#[test]
fn first_order_is_the_gradient_at_w_and_needs_no_training_batch() {
    let case = case();
    let network = smooth();
    let whole = Whole::identity(&network);
    let losses = Losses { network: whole.relaxed(), train: None, valid: &case.valid, valid_role: Role::Alpha };
    let xi = Tensor::from(0.1);
    let none = Tensor::from(0.0);
    let step = VirtualStep {
        xi: &xi,
        momentum: 0.9,
        buffer: None,
        weight_decay: &none,
        clip: None,
        epsilon: 0.01,
        untouched: None,
    };
    let found = arch_gradient(Method::FirstOrder, &losses, &case.w, &case.alpha, &step).unwrap().gradient;
    let alpha = case.alpha.copy().set_requires_grad(true);
    let loss = network.loss(&case.w, &alpha, &case.valid, Mode::Search).unwrap().value;
    let expected = &Tensor::run_backward(&[loss], &[&alpha], false, false)[0];
    assert!(norm(&(found - expected)) < 1e-12);
    let refused = arch_gradient(Method::Unrolled, &losses, &case.w, &case.alpha, &step).unwrap_err();
    assert_eq!(refused.kind, pydarts::error::ErrorKind::Data);
}

#[test]
fn no_method_writes_to_weights_logits_or_momentum() {
    let case = case();
    let before = [case.w.copy(), case.alpha.copy(), case.buffer.copy()];
    for method in [Method::FirstOrder, Method::Unrolled, Method::UnrolledExact] {
        let _ = gradient(&case, method, 0.01, Some(0.05));
        for (now, then) in [&case.w, &case.alpha, &case.buffer].iter().zip(&before) {
            assert!(now.equal(then) && !now.requires_grad(), "{method:?}");
        }
    }
}

#[test]
fn a_stationary_virtual_point_has_no_second_term() {
    // L_val does not depend on w, so v = 0 and R = ε/‖v‖ is undefined.
    let network = Formula::new(2, 2, |w: &Tensor, alpha: &Tensor, batch: &Batch| {
        let train = (w * alpha).square().sum(None);
        let valid = alpha.square().sum(None);
        if batch.inputs.double_value(&[0]) == 0.0 { valid } else { train }
    });
    let (train, valid) = (batch(Tensor::from_slice(&[1.0])), batch(Tensor::from_slice(&[0.0])));
    let whole = Whole::identity(&network);
    let losses = Losses { network: whole.relaxed(), train: Some(&train), valid: &valid, valid_role: Role::Alpha };
    let xi = Tensor::from(0.1);
    let none = Tensor::from(0.0);
    let step = VirtualStep {
        xi: &xi,
        momentum: 0.0,
        buffer: None,
        weight_decay: &none,
        clip: None,
        epsilon: 0.01,
        untouched: None,
    };
    let (w, alpha) = (Tensor::from_slice(&[1.0, 2.0]), Tensor::from_slice(&[3.0, 4.0]));
    for method in [Method::Unrolled, Method::UnrolledExact] {
        let found = arch_gradient(method, &losses, &w, &alpha, &step).unwrap().gradient;
        assert!(norm(&(found - &alpha * 2.0)) < 1e-14, "{method:?}");
    }
}
