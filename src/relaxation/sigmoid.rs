//! The sigmoid of each logit (FairDARTS, Chu et al., 2020): m_o = σ(α_o), so candidates do not compete.

use super::Relax;
use crate::variant::{Spec, Variant};

pub struct Sigmoid;

impl Variant for Sigmoid {
    fn spec(&self) -> &'static Spec {
        &Spec { name: "sigmoid", parameters: &[] }
    }
}

impl Relax for Sigmoid {
    fn shares(&self) -> bool {
        false
    }

    fn mean(&self, row: &[f64], _values: &[f64]) -> Vec<f64> {
        row.iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect()
    }

    #[cfg(feature = "torch")]
    fn weights(&self, alpha: &tch::Tensor, _at: &super::Inputs) -> crate::error::Result<tch::Tensor> {
        Ok(alpha.f_sigmoid()?)
    }

    #[cfg(feature = "torch")]
    fn backward(
        &self,
        _alpha: &tch::Tensor,
        m: &tch::Tensor,
        gradient: &tch::Tensor,
        _at: &super::Inputs,
    ) -> crate::error::Result<tch::Tensor> {
        Ok(tch::Tensor::f_sigmoid_backward(gradient, m)?)
    }
}
