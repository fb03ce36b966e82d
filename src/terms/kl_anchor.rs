//! The anchor of DrNAS (Chen et al., 2021): KL(Dir(κ) ‖ Dir(1)) with κ = elu(α) + 1, the sum over the rows.
//!
//! With n candidates and κ₀ = Σκ it is lnΓ(κ₀) − Σ lnΓ(κ) − lnΓ(n) + Σ (κ − 1)(ψ(κ) − ψ(κ₀)), and
//! ∂κ = (κ − 1)ψ′(κ) − ψ′(κ₀)·Σ(κ − 1).

use super::{Term, weight};
use crate::error::{Error, Result};
use crate::relaxation::Relaxation;
use crate::variant::{Spec, Variant};

/// The smallest κ, as in the relaxation: ψ′(κ) grows without bound near 0.
#[cfg(feature = "torch")]
const LEAST: f64 = 1e-3;

pub struct KlAnchor;

impl Variant for KlAnchor {
    fn spec(&self) -> &'static Spec {
        &Spec { name: "kl_anchor", parameters: &[const { weight(1e-3, 0.0) }] }
    }
}

impl Term for KlAnchor {
    fn measured(&self) -> &'static str {
        "term.kl_anchor"
    }

    fn check(&self, relaxation: &Relaxation) -> Result<()> {
        match relaxation.name() {
            "dirichlet" => Ok(()),
            other => Err(Error::config(format!(
                "`arch_terms` has \"kl_anchor\", which pulls Dirichlet distributions towards the uniform one; \
                 relaxation={other:?} has none. Use relaxation=\"dirichlet\" or leave the term out"
            ))),
        }
    }

    #[cfg(feature = "torch")]
    fn evaluate(&self, tables: &[super::View], _values: &[f64]) -> Result<super::Evaluated> {
        use tch::Kind::Double;
        let (mut values, mut gradient) = (Vec::new(), Vec::new());
        for table in tables {
            // Entries that are not left have κ = 1: they add nothing but to κ₀ and n, which are summed without them.
            let left = table.left.f_to_kind(Double)?;
            let alpha = table.alpha.f_masked_fill(&table.left.f_logical_not()?, 0.0)?;
            let kappa = alpha.f_elu()?.f_add_scalar(1.0)?.f_clamp_min(LEAST)?;
            let over_row = |tensor: &tch::Tensor| tensor.f_mul(&left)?.f_sum_dim_intlist(-1i64, true, Double);
            let excess = kappa.f_sub_scalar(1.0)?;
            // A row without entries would have ψ(0); its numbers are not used.
            let total = over_row(&kappa)?.f_clamp_min(LEAST)?;
            let count = over_row(&left)?.f_clamp_min(1.0)?;
            let digammas = kappa.f_digamma()?.f_sub(&total.f_digamma()?)?;
            let of_rows = total
                .f_lgamma()?
                .f_sub(&over_row(&kappa.f_lgamma()?)?)?
                .f_sub(&count.f_lgamma()?)?
                .f_add(&over_row(&excess.f_mul(&digammas)?)?)?;
            values.push(of_rows.f_mul(&table.rows)?.f_sum(Double)?);
            let by_total = total.f_polygamma(1)?.f_mul(&over_row(&excess)?)?;
            let by_kappa = excess.f_mul(&kappa.f_polygamma(1)?)?.f_sub(&by_total)?;
            gradient.push(by_kappa.f_mul(&alpha.f_clamp_max(0.0)?.f_exp()?)?);
        }
        Ok(super::Evaluated { value: super::sum(&values)?, by: super::By::Logits, gradient })
    }
}
