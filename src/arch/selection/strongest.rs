//! The published rule (paper, section 2.4): per group the k rows whose best candidate is strongest.

use ndarray::ArrayView2;

use super::{Rule, ranked};
use crate::arch::{LogitTable, Pick};
use crate::variant::{Domain, Parameter, Spec, Variant};

pub struct Strongest;

impl Variant for Strongest {
    fn spec(&self) -> &'static Spec {
        // 0: the number that the table says.
        &Spec { name: "strongest", parameters: &[Parameter { name: "k", default: 0.0, domain: Domain::Whole(0) }] }
    }
}

impl Rule for Strongest {
    fn pick(&self, table: &LogitTable, strengths: ArrayView2<f64>, values: &[f64]) -> Vec<Pick> {
        let k = if values[0] > 0.0 { values[0] as usize } else { table.kept.unwrap_or(usize::MAX) };
        let picks = |group: &Vec<usize>| ranked(table, group, strengths).into_iter().take(k).map(|(_, pick)| pick);
        table.groups.iter().flat_map(picks).collect()
    }
}
