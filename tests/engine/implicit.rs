//! Estimates of the implicit gradient, on functions whose Hessian is known.
#![cfg(feature = "torch")]

use crate::common::{Formula, Whole, batch};
use pydarts::config::{Hypergradient, Method};
use pydarts::data::Batch;
use pydarts::nn::{Network, Role};
use pydarts::search::hypergradient::{Losses, Probe, VirtualStep, arch_gradient};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

/// L_train = ½ wᵀAw − α bᵀw on batch 1, L_val = ½ ‖w − target‖² on batch 0; α is one number.
fn quadratic(a: [[f64; 2]; 2], target: [f64; 2]) -> Formula<impl Fn(&Tensor, &Tensor, &Batch) -> Tensor> {
    Formula::new(2, 1, move |w: &Tensor, alpha: &Tensor, batch: &Batch| {
        let a = Tensor::from_slice2(&a);
        let b = Tensor::from_slice(&[1.0, -1.0]);
        let train = w.dot(&a.mv(w)) * 0.5 - alpha.sum(Kind::Double) * b.dot(w);
        let valid = (w - Tensor::from_slice(&target)).square().sum(Kind::Double) * 0.5;
        if batch.inputs.double_value(&[0]) == 0.0 { valid } else { train }
    })
}

/// L_val = αw − 2α + 1 on batch 0, L_train = w² − 2αw + α² on batch 1.
fn toy() -> Formula<impl Fn(&Tensor, &Tensor, &Batch) -> Tensor> {
    Formula::new(1, 1, |w: &Tensor, alpha: &Tensor, batch: &Batch| {
        let valid = alpha * w - alpha * 2.0 + 1.0;
        let train = w * w - alpha * w * 2.0 + alpha * alpha;
        (if batch.inputs.double_value(&[0]) == 0.0 { valid } else { train }).sum(Kind::Double)
    })
}

struct At<'a> {
    w: &'a [f64],
    alpha: f64,
    xi: f64,
    decay: f64,
}

fn gradient(network: &dyn Network, at: &At, method: Value) -> f64 {
    let whole = Whole::identity(network);
    let (train, valid) = (batch(Tensor::from_slice(&[1.0])), batch(Tensor::from_slice(&[0.0])));
    let losses = Losses { network: whole.relaxed(), train: Some(&train), valid: &valid, valid_role: Role::Alpha };
    let xi = Tensor::from(at.xi);
    let weight_decay = &Tensor::from(at.decay);
    let (clip, epsilon, untouched) = (Some(1e-3), 0.01, None);
    let step = VirtualStep { xi: &xi, momentum: 0.9, buffer: None, weight_decay, clip, epsilon, untouched };
    let (w, alpha) = (Tensor::from_slice(at.w), Tensor::from_slice(&[at.alpha]));
    let estimator = Hypergradient::parse("method", &method).unwrap().estimator();
    let found = arch_gradient(estimator, &losses, &w, &alpha, &step).unwrap().gradient;
    assert!(w.equal(&Tensor::from_slice(at.w)) && !w.requires_grad());
    found.double_value(&[0])
}

fn neumann(terms: usize) -> Value {
    json!({"name": "neumann", "terms": terms})
}

fn conjugate(terms: usize, damping: f64) -> Value {
    json!({"name": "conjugate_gradient", "terms": terms, "damping": damping})
}

const A: [[f64; 2]; 2] = [[2.0, 0.5], [0.5, 1.0]];
const STATIONARY: At = At { w: &[0.6, -1.0], alpha: 0.7, xi: 0.3, decay: 0.0 };

fn close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() < tolerance, "{found}, expected {expected}");
}

#[test]
fn the_quadratic_has_the_values_computed_by_hand() {
    let network = quadratic(A, [1.0, 0.0]);
    let expected = [(0, 0.18), (1, 0.369), (2, 0.53055), (5, 0.837079), (20, 1.081483), (100, 1.085714)];
    for (terms, expected) in expected {
        close(gradient(&network, &STATIONARY, neumann(terms)), expected, 1e-6);
    }
    for (terms, expected) in [(1, 0.404651), (2, 1.085714), (7, 1.085714)] {
        close(gradient(&network, &STATIONARY, conjugate(terms, 0.0)), expected, 1e-6);
    }
    close(gradient(&network, &STATIONARY, json!("t1_t2")), 0.18, 1e-12);
    close(gradient(&network, &STATIONARY, json!("first_order")), 0.0, 1e-12);
}

#[test]
fn the_toy_has_the_values_computed_by_hand() {
    let network = toy();
    let at = At { w: &[2.0], alpha: 2.0, xi: 0.1, decay: 0.0 };
    for (method, expected) in
        [(neumann(0), 0.4), (neumann(5), 1.475712), (neumann(50), 1.999977), (conjugate(1, 0.0), 2.0)]
    {
        close(gradient(&network, &at, method), expected, 1e-6);
    }
}

/// Trap: with η = ξ and K = 0 the series is DARTS' second term at w, not at w′.
#[test]
fn neumann_without_products_is_minus_xi_times_the_mixed_product_at_w() {
    let network = toy();
    for (w, alpha, xi) in [(2.0, 2.0, 0.1), (-0.4, 1.7, 0.3), (5.0, -3.0, 0.025)] {
        let at = At { w: &[w], alpha, xi, decay: 0.0 };
        // ∂α L_val = w − 2, v = α, ∂²αw L_train = −2.
        let expected = w - 2.0 + 2.0 * xi * alpha;
        close(gradient(&network, &at, neumann(0)), expected, 1e-12);
        close(gradient(&network, &at, json!("t1_t2")), expected, 1e-12);
    }
}

/// Trap: the sign of MiLeNAS' gradient can be the opposite of first order's.
#[test]
fn mixed_level_adds_the_gradient_of_the_training_loss() {
    let network = toy();
    let at = At { w: &[-2.0], alpha: 2.0, xi: 0.1, decay: 0.1 };
    close(gradient(&network, &at, json!("first_order")), -4.0, 1e-12);
    close(gradient(&network, &at, json!("mixed_level")), 4.0, 1e-12);
    close(gradient(&network, &at, json!({"name": "mixed_level", "weight": 0.25})), -2.0, 1e-12);
    close(gradient(&network, &at, json!({"name": "mixed_level", "weight": 0})), -4.0, 1e-12);
}

/// Trap: decay is part of the weight step, so it adds λI to H; momentum and clipping are not.
#[test]
fn weight_decay_is_on_the_diagonal_of_the_hessian() {
    let network = quadratic(A, [1.0, 0.0]);
    for decay in [0.0, 0.5] {
        let at = At { decay, ..STATIONARY };
        let hessian = Tensor::from_slice2(&A) + Tensor::eye(2, (Kind::Double, Device::Cpu)) * decay;
        let v = Tensor::from_slice(&[-0.4, -1.0]);
        let expected = hessian.inverse().mv(&v).dot(&Tensor::from_slice(&[1.0, -1.0])).double_value(&[]);
        close(gradient(&network, &at, neumann(400)), expected, 1e-12);
        close(gradient(&network, &at, conjugate(2, 0.0)), expected, 1e-12);
        // Damping is one more number on the diagonal.
        let damped = At { decay: 0.0, ..STATIONARY };
        close(gradient(&network, &damped, conjugate(2, decay)), expected, 1e-12);
    }
}

/// Trap: H is indefinite, and along a direction of negative curvature conjugate gradients go to infinity.
#[test]
fn conjugate_gradients_end_at_negative_curvature() {
    let indefinite = [[1.0, 0.0], [0.0, -1.0]];
    // v = w − target = −target at w = 0, and the gradient is bᵀq.
    let at = At { w: &[0.0, 0.0], alpha: 0.7, xi: 0.3, decay: 0.0 };
    let found = |v: [f64; 2], method: Value| gradient(&quadratic(indefinite, [-v[0], -v[1]]), &at, method);
    for terms in [1, 2, 5] {
        // The first direction: first order.
        close(found([0.0, 1.0], conjugate(terms, 0.0)), 0.0, 1e-15);
        close(found([1.0, 1.0], conjugate(terms, 0.0)), 0.0, 1e-15);
        // The second direction: the first step is kept.
        close(found([2.0, 1.0], conjugate(terms, 0.0)), 10.0 / 3.0 - 5.0 / 3.0, 1e-12);
        // Solved by the first step; the next direction has length 0.
        close(found([1.0, 0.0], conjugate(terms, 0.0)), 1.0, 1e-12);
    }
    // Damped, H is positive.
    close(found([2.0, 1.0], conjugate(2, 2.0)), 2.0 / 3.0 - 1.0, 1e-12);
}

#[test]
fn a_stationary_validation_loss_has_no_second_term() {
    let network = quadratic(A, [0.6, -1.0]);
    for method in [json!("t1_t2"), neumann(3), conjugate(1, 0.0), conjugate(4, 0.0)] {
        close(gradient(&network, &STATIONARY, method), 0.0, 1e-15);
    }
}

#[test]
fn products_that_are_not_finite_are_not_hidden() {
    let network = Formula::new(2, 1, |w: &Tensor, alpha: &Tensor, batch: &Batch| {
        let valid = w.sum(Kind::Double);
        // The gradient is finite at 0, the second derivative is not.
        let train = (w.square().sum(Kind::Double) * 1e300).square() * alpha.sum(Kind::Double) * 1e300;
        if batch.inputs.double_value(&[0]) == 0.0 { valid } else { train }
    });
    let at = At { w: &[1.0, 1.0], alpha: 1.0, xi: 0.1, decay: 0.0 };
    for method in [neumann(1), conjugate(2, 0.0)] {
        assert!(!gradient(&network, &at, method).is_finite());
    }
}

/// Trap: a step η ≥ 2/λ_max, such as 1 on a network, diverges.
#[test]
fn neumann_converges_below_two_over_the_largest_eigenvalue_only() {
    let network = quadratic(A, [1.0, 0.0]);
    let largest = Tensor::from_slice2(&A).linalg_eigvalsh("L").double_value(&[-1]);
    let at = |share: f64| At { xi: share * 2.0 / largest, ..STATIONARY };
    close(gradient(&network, &at(0.95), neumann(2000)), 1.085714, 1e-6);
    assert!(gradient(&network, &at(1.05), neumann(2000)).abs() > 1e6);
}

#[test]
fn a_probe_of_the_exact_gradient_finds_no_difference() {
    let network = toy();
    let whole = Whole::identity(&network);
    let (train, valid) = (batch(Tensor::from_slice(&[1.0])), batch(Tensor::from_slice(&[0.0])));
    let losses = Losses { network: whole.relaxed(), train: Some(&train), valid: &valid, valid_role: Role::Alpha };
    let xi = Tensor::from(0.1);
    let weight_decay = &Tensor::from(0.0);
    let (clip, epsilon, untouched) = (None, 0.01, None);
    let step = VirtualStep { xi: &xi, momentum: 0.0, buffer: None, weight_decay, clip, epsilon, untouched };
    let (w, alpha) = (Tensor::from_slice(&[-2.0]), Tensor::from_slice(&[2.0]));
    let probe = |method: Method| {
        let found = arch_gradient(method, &losses, &w, &alpha, &step).unwrap().gradient;
        let probe = Probe::of(&found, &losses, &w, &alpha, &step).unwrap();
        (probe.cosine.double_value(&[]), probe.error.double_value(&[]))
    };
    assert_eq!(probe(Method::UnrolledExact), (1.0, 0.0));
    // At w′ = −1.2 the exact one is −3.2 + 0.4 = −2.8; first order −4, mixed level 4.
    let (cosine, error) = probe(Method::FirstOrder);
    close(cosine, 1.0, 1e-12);
    close(error, 1.2 / 2.8, 1e-12);
    let (cosine, error) = probe(Method::MixedLevel);
    close(cosine, -1.0, 1e-12);
    close(error, 6.8 / 2.8, 1e-12);
}
