//! Terms: functions of α that are added to the validation loss of the α step, one file each, with their gradients by
//! hand. They contain neither weights nor data, so they need no pass of the network and are the same in every
//! hypergradient.
//!
//! A term of the mixing weights uses the relaxation's mean m = R(α), without noise, and its gradient passes through
//! J_Rᵀ. Masked candidates, padding and frozen rows count nowhere, in means neither.

mod beta_decay;
mod cost;
mod entropy;
mod kl_anchor;
mod zero_one;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::json::Field;
use crate::relaxation::Relaxation;
use crate::space::Reads;
use crate::variant::{Chosen, Domain, Parameter, Variant};

pub use cost::{Form, TargetCost};

/// A term. Its first parameter is its weight.
pub trait Term: Variant {
    /// An error if the term has no meaning under a relaxation.
    fn check(&self, _relaxation: &Relaxation) -> Result<()> {
        Ok(())
    }

    /// The name of what it adds to the validation loss, among the diagnostics of an epoch.
    fn measured(&self) -> &'static str;

    /// What the term counts of the network that will be built; None for a function of α alone.
    fn measure(&self) -> Option<&'static str> {
        None
    }

    /// The value of a function of α, and its gradient. `values`: the parameters.
    #[cfg(feature = "torch")]
    fn evaluate(&self, tables: &[View], values: &[f64]) -> Result<Evaluated>;
}

/// A table in double precision, as a term sees it.
#[cfg(feature = "torch")]
pub struct View {
    /// The logits [rows, columns]; −∞ where masked.
    pub alpha: tch::Tensor,
    /// The mean mixing weights [rows, columns].
    pub m: tch::Tensor,
    /// Whether an entry is left: neither masked nor in a frozen row.
    pub left: tch::Tensor,
    /// 1 for rows with entries that are left, else 0, [rows, 1].
    pub rows: tch::Tensor,
    /// The place of its first entry in flat α.
    pub offset: i64,
}

/// The value of a term and its gradient, one tensor per table.
#[cfg(feature = "torch")]
pub struct Evaluated {
    /// A scalar.
    pub value: tch::Tensor,
    /// What the gradient is by.
    pub by: By,
    /// The gradient; the caller sets it to 0 where nothing is left.
    pub gradient: Vec<tch::Tensor>,
}

/// What the gradient of a term is by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// α.
    Logits,
    /// The mean mixing weights.
    Mixing,
}

/// The sum of `of_rows` [rows, 1] over the rows that are left, divided by their number.
#[cfg(feature = "torch")]
fn mean_over_rows(table: &View, of_rows: &tch::Tensor) -> Result<tch::Tensor> {
    let zero = of_rows.f_zeros_like()?;
    let of_rows = of_rows.f_where_self(&table.rows.f_gt(0.0)?, &zero)?;
    Ok(of_rows.f_sum(tch::Kind::Double)?.f_mul(&share_of_row(table)?)?)
}

/// 1 divided by the number of rows that are left; 0 if there is none.
#[cfg(feature = "torch")]
fn share_of_row(table: &View) -> Result<tch::Tensor> {
    let count = table.rows.f_sum(tch::Kind::Double)?;
    Ok(count.f_gt(0.0)?.f_to_kind(tch::Kind::Double)?.f_div(&count.f_clamp_min(1.0)?)?)
}

/// The sum of scalars.
#[cfg(feature = "torch")]
fn sum(scalars: &[tch::Tensor]) -> Result<tch::Tensor> {
    Ok(tch::Tensor::f_stack(scalars, 0)?.f_sum(tch::Kind::Double)?)
}

/// The largest weight of a term.
const HEAVIEST: f64 = 1e6;

const fn weight(default: f64, low: f64) -> Parameter {
    Parameter { name: "weight", default, domain: Domain::Scheduled { low, high: HEAVIEST, from: None } }
}

/// All terms.
pub const ALL: &[&dyn Term] = &[
    &entropy::Entropy,
    &beta_decay::BetaDecay,
    &zero_one::ZeroOne,
    &kl_anchor::KlAnchor,
    &cost::Flops,
    &cost::Parameters,
    &cost::Latency,
];

/// A term with the values of its parameters.
pub type ArchTerm = Chosen<dyn Term>;

/// The terms that a field of a configuration gives: null for none, one, or a list.
pub(crate) fn read(field: &Field) -> Result<Vec<ArchTerm>> {
    let items = match field.value {
        Value::Null => return Ok(Vec::new()),
        Value::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    let terms = items.iter().map(|value| Chosen::read(&Field { value, ..*field }, ALL)).collect::<Result<Vec<_>>>()?;
    for (index, term) in terms.iter().enumerate() {
        if terms[..index].iter().any(|other| other.name() == term.name()) {
            let name = term.name();
            return Err(Error::new(field.kind, format!("`{}` has {name:?} twice; give each term once", field.name)));
        }
    }
    Ok(terms)
}

/// An error if terms contradict the relaxation, the space, or weights of edges.
pub(crate) fn check(terms: &[ArchTerm], relaxation: &Relaxation, edges: bool, reads: Reads) -> Result<()> {
    for term in terms {
        let name = term.name();
        if !relaxation.rule().learns() {
            let relaxation = relaxation.name();
            return Err(Error::config(format!(
                "`arch_terms` has {name:?}, which moves α, and relaxation={relaxation:?} does not; leave the terms out"
            )));
        }
        if edges && ["entropy", "zero_one"].contains(&name) {
            return Err(Error::config(format!(
                "`arch_terms` has {name:?}, which does not apply with edge_normalization=True: mixing weights are \
                 multiplied by those of their edges; leave one of them out"
            )));
        }
        term.rule().check(relaxation)?;
        if term.rule().measure().is_some() && reads == Reads::Words {
            return Err(Error::config(format!(
                "`arch_terms` has {name:?}; the candidates of a recurrent cell cost nothing, so leave it out"
            )));
        }
        if name == "latency" && term.text("file").is_none() {
            return Err(Error::config(
                "`arch_terms` has \"latency\" without `file`, the path of a table that `pydarts.latency_table` wrote",
            ));
        }
    }
    Ok(())
}
