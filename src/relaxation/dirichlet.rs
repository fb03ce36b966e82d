//! Mixing weights drawn from a Dirichlet distribution (DrNAS, Chen et al., 2021): m ~ Dir(κ), κ = elu(α) + 1, with the
//! pathwise gradient.
//!
//! κ is at least 1e-3: below, samples are one-hot to rounding and their gradients overflow. J is libtorch's
//! `_dirichlet_grad` times dκ/dα; it treats m as drawn, so a second order passes through J as through that of any other
//! relaxation. Without noise m = κ/Σκ.
//!
//! The sampler is that of Marsaglia and Tsang (2000) for the gamma distribution, as tensor operations of fixed size: the
//! first of [`ATTEMPTS`] proposals that is accepted. A proposal is refused with a probability of at most 0.0484 (at
//! shape 1), so all are with at most 7e-14; the gamma number is d = shape − 1/3 then, near its mode. κ < 1 is sampled by a
//! shape of κ + 1 and a factor U^(1/κ). All in float64 and in logarithms, as U^(1/κ) underflows.

use super::{Noise, Relax};
use crate::variant::{Spec, Variant};

/// The number of proposals.
pub(super) const ATTEMPTS: usize = 10;

/// The numbers drawn per entry: a normal and the logarithm of a uniform one per proposal, and one logarithm for κ < 1.
pub(super) const BLOCKS: usize = 2 * ATTEMPTS + 1;

/// The smallest κ.
const LEAST: f64 = 1e-3;

pub struct Dirichlet;

impl Variant for Dirichlet {
    fn spec(&self) -> &'static Spec {
        &Spec { name: "dirichlet", parameters: &[] }
    }
}

impl Relax for Dirichlet {
    fn noise(&self) -> Noise {
        Noise::Dirichlet
    }

    fn mean(&self, row: &[f64], _values: &[f64]) -> Vec<f64> {
        let of = |logit: &f64| match *logit {
            f64::NEG_INFINITY => 0.0,
            logit if logit > 0.0 => logit + 1.0,
            logit => logit.exp().max(LEAST),
        };
        let concentrations: Vec<f64> = row.iter().map(of).collect();
        let sum: f64 = concentrations.iter().sum();
        concentrations.into_iter().map(|concentration| concentration / sum).collect()
    }

    #[cfg(feature = "torch")]
    fn sample(&self, alpha: &tch::Tensor, drawn: &tch::Tensor) -> crate::error::Result<tch::Tensor> {
        let attempts = ATTEMPTS as i64;
        let kappa = concentration(alpha)?;
        let small = kappa.f_lt(1.0)?;
        let d = kappa.f_add(&small)?.f_sub_scalar(1.0 / 3.0)?;
        let normal = drawn.f_narrow(0, 0, attempts)?;
        let scale = d.f_mul_scalar(9.0)?.f_rsqrt()?;
        let root = normal.f_mul(&scale)?.f_add_scalar(1.0)?;
        // Proposals with a root of at most 0 are refused; any finite logarithm does.
        let log_v = root.f_clamp_min(f64::MIN_POSITIVE)?.f_log()?.f_mul_scalar(3.0)?;
        let bound = log_v.f_sub(&log_v.f_exp()?)?.f_add_scalar(1.0)?.f_mul(&d)?;
        let bound = bound.f_add(&normal.f_square()?.f_mul_scalar(0.5)?)?;
        let accepted = drawn.f_narrow(0, attempts, attempts)?.f_lt_tensor(&bound)?.f_logical_and(&root.f_gt(0.0)?)?;
        let first = accepted.f_cumsum(0, tch::Kind::Int64)?.f_eq(1)?.f_logical_and(&accepted)?;
        let log_v = log_v.f_masked_fill(&first.f_logical_not()?, 0.0)?;
        let log_v = log_v.f_sum_dim_intlist(0i64, false, tch::Kind::Double)?;
        let factor = drawn.f_select(0, 2 * attempts)?.f_div(&kappa)?.f_mul(&small)?;
        let logarithms = d.f_log()?.f_add(&log_v)?.f_add(&factor)?;
        let logarithms = logarithms.f_masked_fill(&alpha.f_isneginf()?, f64::NEG_INFINITY)?;
        Ok(logarithms.f_softmax(-1, None)?.f_to_kind(alpha.kind())?)
    }

    #[cfg(feature = "torch")]
    fn weights(&self, alpha: &tch::Tensor, at: &super::Inputs) -> crate::error::Result<tch::Tensor> {
        if let Some(sample) = at.noise {
            return Ok(sample.shallow_clone());
        }
        let kappa = concentration(alpha)?.f_masked_fill(&alpha.f_isneginf()?, 0.0)?;
        Ok(kappa.f_div(&sum(&kappa)?)?.f_to_kind(alpha.kind())?)
    }

    #[cfg(feature = "torch")]
    fn backward(
        &self,
        alpha: &tch::Tensor,
        m: &tch::Tensor,
        gradient: &tch::Tensor,
        at: &super::Inputs,
    ) -> crate::error::Result<tch::Tensor> {
        let [wide, m, gradient] = [alpha, m, gradient].map(|tensor| tensor.f_to_kind(tch::Kind::Double));
        let (wide, m, gradient) = (wide?, m?, gradient?);
        let (kappa, masked) = (concentration(&wide)?, wide.f_isneginf()?);
        let total = sum(&kappa.f_masked_fill(&masked, 0.0)?)?;
        let centered = gradient.f_sub(&sum(&m.f_mul(&gradient)?)?)?;
        let of_kappa = match at.noise {
            Some(_) => {
                let total = total.f_expand_as(&kappa)?.f_contiguous()?;
                // At 0 and at 1, where samples of a small κ round to, the limit is 0.
                tch::Tensor::f_internal_dirichlet_grad(&m, &kappa, &total)?
                    .f_mul(&centered)?
                    .f_nan_to_num(0.0, 0.0, 0.0)?
            }
            None => centered.f_div(&total)?,
        };
        // dκ/dα is 1 for α > 0, else κ; 0 where κ is clamped.
        let slope = kappa.f_clamp_max(1.0)?.f_masked_fill(&kappa.f_le(LEAST)?, 0.0)?;
        Ok(of_kappa.f_mul(&slope)?.f_masked_fill(&masked, 0.0)?.f_to_kind(alpha.kind())?)
    }
}

/// κ in float64, also where α is −∞.
#[cfg(feature = "torch")]
fn concentration(alpha: &tch::Tensor) -> crate::error::Result<tch::Tensor> {
    let alpha = alpha.f_to_kind(tch::Kind::Double)?;
    let low = alpha.f_clamp_max(0.0)?.f_exp()?.f_clamp_min(LEAST)?;
    Ok(low.f_add(&alpha.f_clamp_min(0.0)?)?)
}

/// The sums of rows, [rows, 1].
#[cfg(feature = "torch")]
fn sum(tensor: &tch::Tensor) -> crate::error::Result<tch::Tensor> {
    Ok(tensor.f_sum_dim_intlist(-1i64, true, None)?)
}
