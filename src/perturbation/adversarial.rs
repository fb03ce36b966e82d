//! SDARTS-ADV: m′ ascends the training loss from a random start, within ±ε of m (projected gradient ascent).
//!
//! Each of n steps moves by (2ε/n)·sign ∇_m L_train with running statistics, is brought back to within ±ε of m entry by
//! entry, and is projected. If the loss at the end is below that at m, m itself is used.

use super::{EPSILON, Perturb};
use crate::variant::{Domain, Parameter, Spec, Variant};

const STEPS: Parameter = Parameter { name: "steps", default: 7.0, domain: Domain::Whole(1) };

pub struct Adversarial;

impl Variant for Adversarial {
    fn spec(&self) -> &'static Spec {
        &Spec { name: "adversarial", parameters: &[EPSILON, STEPS] }
    }
}

impl Perturb for Adversarial {
    #[cfg(feature = "torch")]
    fn perturb(&self, m: &tch::Tensor, near: &dyn super::Neighbourhood) -> crate::error::Result<tch::Tensor> {
        let (steps, epsilon) = (near.constants()[1], near.epsilon());
        let (below, length) = (epsilon.f_neg()?, epsilon.f_mul_scalar(2.0 / steps)?);
        let before = near.loss(m)?;
        let mut point = near.project(&m.f_add(&near.noise().f_mul(epsilon)?)?)?;
        for _ in 0..steps as usize {
            let moved = point.f_add(&near.gradient(&point)?.f_sign()?.f_mul(&length)?)?;
            point = near.project(&m.f_add(&moved.f_sub(m)?.f_clamp_tensor(Some(&below), Some(epsilon))?)?)?;
        }
        Ok(m.f_where_self(&near.loss(&point)?.f_lt_tensor(&before)?, &point)?)
    }
}
