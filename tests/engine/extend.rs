//! What a fork writes to extend the engine: the page "Extend pydarts" shows these sections.
#![cfg(feature = "torch")]

use crate::common::table;
use pydarts::nn::{Draw, Relaxations, Role};
use pydarts::relaxation::Relaxation;
use tch::{Device, Kind, Tensor};

// --8<-- [start:relaxation]
mod floor {
    //! A softmax that leaves every candidate a share of at least ε/n: m = (1 − ε)·softmax(α) + ε/n.

    use pydarts::arch;
    use pydarts::error::Result;
    use pydarts::relaxation::{Inputs, Relax};
    use pydarts::variant::{Domain, Parameter, Spec, Variant};
    use tch::Tensor;

    pub struct Floor;

    impl Variant for Floor {
        fn spec(&self) -> &'static Spec {
            &Spec {
                name: "floor",
                parameters: &[Parameter { name: "epsilon", default: 0.1, domain: Domain::Number(0.0, 0.99) }],
            }
        }
    }

    impl Relax for Floor {
        /// In float64, for selections and plots. Masked logits are −∞.
        fn mean(&self, row: &[f64], values: &[f64]) -> Vec<f64> {
            let left = row.iter().filter(|logit| logit.is_finite()).count() as f64;
            arch::softmax(row).into_iter().map(|share| (1.0 - values[0]) * share + values[0] / left).collect()
        }

        /// m of a table [rows, columns]; the engine sets masked entries to 0.
        fn weights(&self, alpha: &Tensor, at: &Inputs) -> Result<Tensor> {
            let epsilon = &at.values[0];
            let left = alpha.f_isfinite()?.f_sum_dim_intlist([-1i64].as_slice(), true, alpha.kind())?;
            let shares = alpha.f_softmax(-1, None)?;
            Ok(shares.f_sub(&shares.f_mul(epsilon)?)?.f_add(&left.f_reciprocal()?.f_mul(epsilon)?)?)
        }

        /// J_Rᵀ·gradient = (1 − ε)·p ∘ (g − ⟨p, g⟩), p the softmax.
        fn backward(&self, alpha: &Tensor, _m: &Tensor, gradient: &Tensor, at: &Inputs) -> Result<Tensor> {
            let shares = alpha.f_softmax(-1, None)?;
            let back = Tensor::f_internal_softmax_backward_data(gradient, &shares, -1, shares.kind())?;
            Ok(back.f_sub(&back.f_mul(&at.values[0])?)?)
        }
    }
}
// --8<-- [end:relaxation]

#[test]
fn a_relaxation_of_a_fork_has_the_jacobian_that_it_states() {
    let place = (Kind::Double, Device::Cpu);
    let chosen = Relaxation::new(&floor::Floor);
    let relaxations = Relaxations::new(&chosen, vec![table("alpha", 2, 3)], (0, 1), place).unwrap();
    let draw = Draw::Part(Role::Alpha, 0);
    let alpha = Tensor::from_slice(&[0.2, -0.1, 0.5, 1.0, -2.0, 0.3]);
    let m = |alpha: &Tensor| relaxations.weights(alpha, draw).unwrap();
    let sums = m(&alpha).view([2, 3]).sum_dim_intlist([1i64].as_slice(), false, Kind::Double);
    assert!((sums - 1.0).abs().max().double_value(&[]) < 1e-14);
    assert!(m(&alpha).min().double_value(&[]) > 0.1 / 3.0);
    let gradient = Tensor::from_slice(&[1.0, 2.0, -1.0, 0.5, 0.0, 3.0]);
    let found = relaxations.backward(&alpha, &m(&alpha), &gradient, draw).unwrap();
    for index in 0..6 {
        let moved = |by: f64| {
            let alpha = alpha.copy();
            let _ = alpha.get(index).fill_(alpha.double_value(&[index]) + by);
            m(&alpha)
        };
        let numeric = ((moved(1e-6) - moved(-1e-6)) * &gradient).sum(None).double_value(&[]) / 2e-6;
        assert!((found.double_value(&[index]) - numeric).abs() < 1e-9, "α[{index}]");
    }
}
