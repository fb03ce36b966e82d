//! Every row keeps its strongest candidate.

use ndarray::ArrayView2;

use super::{Rule, ranked};
use crate::arch::{LogitTable, Pick};
use crate::variant::{Spec, Variant};

pub struct Argmax;

impl Variant for Argmax {
    fn spec(&self) -> &'static Spec {
        &Spec { name: "argmax", parameters: &[] }
    }
}

impl Rule for Argmax {
    fn pick(&self, table: &LogitTable, strengths: ArrayView2<f64>, _values: &[f64]) -> Vec<Pick> {
        let picks = |group: &Vec<usize>| ranked(table, group, strengths).into_iter().map(|(_, pick)| pick);
        table.groups.iter().flat_map(picks).collect()
    }
}
