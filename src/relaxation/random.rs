//! Uniform random architectures: random search with weight sharing (Li & Talwalkar, 2019). m is one-hot in the rows that
//! an architecture keeps and 0 in the others, independent of α, which never moves.

use super::{Noise, Relax};
use crate::variant::{Spec, Variant};

pub struct Random;

impl Variant for Random {
    fn spec(&self) -> &'static Spec {
        &Spec { name: "random", parameters: &[] }
    }
}

impl Relax for Random {
    fn noise(&self) -> Noise {
        Noise::Architecture
    }

    fn samples_one(&self) -> bool {
        true
    }

    fn learns(&self) -> bool {
        false
    }

    /// Of a row that is kept: the same share for every candidate that is left.
    fn mean(&self, row: &[f64], _values: &[f64]) -> Vec<f64> {
        let left = |logit: &f64| if *logit == f64::NEG_INFINITY { 0.0 } else { 1.0 };
        let count: f64 = row.iter().map(left).sum();
        row.iter().map(|logit| left(logit) / count).collect()
    }

    #[cfg(feature = "torch")]
    fn weights(&self, alpha: &tch::Tensor, at: &super::Inputs) -> crate::error::Result<tch::Tensor> {
        if let Some(drawn) = at.noise {
            return Ok(drawn.shallow_clone());
        }
        let left = alpha.f_isneginf()?.f_logical_not()?.f_to_kind(alpha.kind())?;
        Ok(left.f_div(&left.f_sum_dim_intlist(-1i64, true, None)?)?)
    }

    #[cfg(feature = "torch")]
    fn backward(
        &self,
        alpha: &tch::Tensor,
        _m: &tch::Tensor,
        _gradient: &tch::Tensor,
        _at: &super::Inputs,
    ) -> crate::error::Result<tch::Tensor> {
        Ok(alpha.f_zeros_like()?)
    }
}
