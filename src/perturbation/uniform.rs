//! SDARTS-RS: m′ is the projection of m + δ with independent δ ~ U(−ε, ε).

use super::{EPSILON, Perturb};
use crate::variant::{Spec, Variant};

pub struct Uniform;

impl Variant for Uniform {
    fn spec(&self) -> &'static Spec {
        &Spec { name: "uniform", parameters: &[EPSILON] }
    }
}

impl Perturb for Uniform {
    #[cfg(feature = "torch")]
    fn perturb(&self, m: &tch::Tensor, near: &dyn super::Neighbourhood) -> crate::error::Result<tch::Tensor> {
        near.project(&m.f_add(&near.noise().f_mul(near.epsilon())?)?)
    }
}
