//! The softmax of a row, eq. 2 of the paper, with a temperature: m_o = exp(α_o/τ) / Σ exp(α/τ).

use super::{Relax, TEMPERATURE};
use crate::arch;
use crate::variant::{Spec, Variant};

pub struct Softmax;

impl Variant for Softmax {
    fn spec(&self) -> &'static Spec {
        &Spec { name: "softmax", parameters: &[TEMPERATURE] }
    }
}

impl Relax for Softmax {
    fn mean(&self, row: &[f64], values: &[f64]) -> Vec<f64> {
        arch::softmax(&row.iter().map(|logit| logit / values[0]).collect::<Vec<_>>())
    }

    #[cfg(feature = "torch")]
    fn weights(&self, alpha: &tch::Tensor, at: &super::Inputs) -> crate::error::Result<tch::Tensor> {
        Ok(alpha.f_div(&at.values[0])?.f_softmax(-1, None)?)
    }

    #[cfg(feature = "torch")]
    fn backward(
        &self,
        _alpha: &tch::Tensor,
        m: &tch::Tensor,
        gradient: &tch::Tensor,
        at: &super::Inputs,
    ) -> crate::error::Result<tch::Tensor> {
        Ok(tch::Tensor::f_internal_softmax_backward_data(gradient, m, -1, m.kind())?.f_div(&at.values[0])?)
    }
}
