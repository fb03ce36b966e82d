//! The zero-one loss of FairDARTS (Chu et al., 2020): −(m − ½)² or −|m − ½|, the mean over all entries of all tables. It
//! pushes each mixing weight to 0 or 1.

use super::{Term, weight};
use crate::variant::{Domain, Parameter, Spec, Variant};

pub struct ZeroOne;

impl Variant for ZeroOne {
    fn spec(&self) -> &'static Spec {
        const FORM: Parameter = Parameter { name: "form", default: 0.0, domain: Domain::Name(&["l2", "l1"]) };
        &Spec { name: "zero_one", parameters: &[const { weight(10.0, 0.0) }, FORM] }
    }
}

impl Term for ZeroOne {
    fn measured(&self) -> &'static str {
        "term.zero_one"
    }

    #[cfg(feature = "torch")]
    fn evaluate(&self, tables: &[super::View], values: &[f64]) -> crate::error::Result<super::Evaluated> {
        use tch::Kind::Double;
        let counts =
            tables.iter().map(|table| Ok(table.left.f_sum(Double)?)).collect::<crate::error::Result<Vec<_>>>()?;
        let share = super::sum(&counts)?.f_clamp_min(1.0)?.f_reciprocal()?;
        let (mut distances, mut gradient) = (Vec::new(), Vec::new());
        for table in tables {
            let from_half = table.m.f_sub_scalar(0.5)?.f_mul(&table.left.f_to_kind(Double)?)?;
            let (distance, derivative) = match values[1] {
                0.0 => (from_half.f_square()?, from_half.f_mul_scalar(-2.0)?),
                _ => (from_half.f_abs()?, from_half.f_sign()?.f_neg()?),
            };
            distances.push(distance.f_sum(Double)?);
            gradient.push(derivative.f_mul(&share)?);
        }
        let value = super::sum(&distances)?.f_neg()?.f_mul(&share)?;
        Ok(super::Evaluated { value, by: super::By::Mixing, gradient })
    }
}
