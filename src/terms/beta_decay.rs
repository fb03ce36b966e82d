//! β decay (β-DARTS, Ye et al., 2022): logsumexp(α) of each row. The published code takes the mean over the rows of its
//! one table; here the means of several tables are added, so that a row weighs the same next to other tables.
//!
//! ∂α = softmax(α)/rows: it lowers all logits of a row, the large ones most.

use super::Term;
use crate::variant::{Domain, Parameter, Spec, Variant};

pub struct BetaDecay;

impl Variant for BetaDecay {
    fn spec(&self) -> &'static Spec {
        const RISING: Domain = Domain::Scheduled { low: 0.0, high: super::HEAVIEST, from: Some(0.0) };
        const WEIGHT: Parameter = Parameter { name: "weight", default: 50.0, domain: RISING };
        &Spec { name: "beta_decay", parameters: &[WEIGHT] }
    }
}

impl Term for BetaDecay {
    fn measured(&self) -> &'static str {
        "term.beta_decay"
    }

    #[cfg(feature = "torch")]
    fn evaluate(&self, tables: &[super::View], _values: &[f64]) -> crate::error::Result<super::Evaluated> {
        let (mut values, mut gradient) = (Vec::new(), Vec::new());
        for table in tables {
            values.push(super::mean_over_rows(table, &table.alpha.f_logsumexp(-1i64, true)?)?);
            gradient.push(table.alpha.f_softmax(-1, None)?.f_mul(&super::share_of_row(table)?)?);
        }
        Ok(super::Evaluated { value: super::sum(&values)?, by: super::By::Logits, gradient })
    }
}
