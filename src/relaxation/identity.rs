//! The identity, m = α, for networks that use their logits directly.

use super::Relax;
use crate::variant::{Spec, Variant};

pub struct Identity;

impl Variant for Identity {
    fn spec(&self) -> &'static Spec {
        &Spec { name: "identity", parameters: &[] }
    }
}

impl Relax for Identity {
    fn shares(&self) -> bool {
        false
    }

    fn mean(&self, row: &[f64], _values: &[f64]) -> Vec<f64> {
        row.to_vec()
    }

    #[cfg(feature = "torch")]
    fn weights(&self, alpha: &tch::Tensor, _at: &super::Inputs) -> crate::error::Result<tch::Tensor> {
        Ok(alpha.shallow_clone())
    }

    #[cfg(feature = "torch")]
    fn backward(
        &self,
        _alpha: &tch::Tensor,
        _m: &tch::Tensor,
        gradient: &tch::Tensor,
        _at: &super::Inputs,
    ) -> crate::error::Result<tch::Tensor> {
        Ok(gradient.shallow_clone())
    }
}
