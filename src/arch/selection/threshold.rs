//! The rule of FairDARTS (Chu et al., 2020): of the k strongest rows of a group, those of at least a given strength. So
//! a group may keep nothing.

use ndarray::ArrayView2;

use super::{Rule, ranked};
use crate::arch::{LogitTable, Pick};
use crate::variant::{Domain, Parameter, Spec, Variant};

pub struct Threshold;

impl Variant for Threshold {
    fn spec(&self) -> &'static Spec {
        &Spec {
            name: "threshold",
            parameters: &[
                Parameter { name: "value", default: 0.85, domain: Domain::Number(0.0, 1.0) },
                Parameter { name: "k", default: 2.0, domain: Domain::Whole(1) },
            ],
        }
    }
}

impl Rule for Threshold {
    fn pick(&self, table: &LogitTable, strengths: ArrayView2<f64>, values: &[f64]) -> Vec<Pick> {
        let (value, k) = (values[0], values[1] as usize);
        let strong = |(strength, pick): (f64, Pick)| (strength >= value).then_some(pick);
        let picks = |group: &Vec<usize>| ranked(table, group, strengths).into_iter().take(k).filter_map(strong);
        table.groups.iter().flat_map(picks).collect()
    }
}
