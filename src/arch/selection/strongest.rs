//! The published rule (paper, section 2.4): per group the k rows whose best candidate is strongest.

use ndarray::ArrayView2;

use super::{Rule, ranked};
use crate::arch::{LogitTable, Pick};
use crate::variant::{Domain, Parameter, Spec, Variant};

pub struct Strongest;

impl Variant for Strongest {
    fn spec(&self) -> &'static Spec {
        // 0: the rows that the table says.
        &Spec { name: "strongest", parameters: &[Parameter { name: "k", default: 0.0, domain: Domain::Whole(0) }] }
    }
}

impl Rule for Strongest {
    fn pick(&self, table: &LogitTable, strengths: ArrayView2<f64>, values: &[f64]) -> Vec<Pick> {
        let (k, least) = match values[0] as usize {
            0 => (table.kept.unwrap_or(usize::MAX), table.least.unwrap_or(f64::NEG_INFINITY)),
            k => (k, f64::NEG_INFINITY),
        };
        let strong = move |(strength, pick): (f64, Pick)| (strength >= least).then_some(pick);
        let picks = |group: &Vec<usize>| ranked(table, group, strengths).into_iter().filter_map(strong).take(k);
        table.groups.iter().flat_map(picks).collect()
    }
}
