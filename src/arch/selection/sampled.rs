//! Random search with weight sharing (Li & Talwalkar, 2019): random architectures, each scored by the trained network.
//!
//! The run scores them (`src/search/sampled.rs`). Where only strengths are known, such as at the points of a trajectory,
//! the rule picks as the published one does.

use ndarray::ArrayView2;

use super::Rule;
use super::strongest::Strongest;
use crate::arch::{LogitTable, Pick};
use crate::variant::{Domain, Parameter, Spec, Variant};

pub struct Sampled;

impl Variant for Sampled {
    fn spec(&self) -> &'static Spec {
        &Spec {
            name: "sampled",
            parameters: &[
                Parameter { name: "samples", default: 1000.0, domain: Domain::Whole(1) },
                Parameter { name: "batches", default: 10.0, domain: Domain::Whole(1) },
                Parameter { name: "finalists", default: 10.0, domain: Domain::Whole(1) },
                Parameter { name: "epoch_samples", default: 16.0, domain: Domain::Whole(1) },
            ],
        }
    }
}

impl Rule for Sampled {
    fn pick(&self, table: &LogitTable, strengths: ArrayView2<f64>, _values: &[f64]) -> Vec<Pick> {
        Strongest.pick(table, strengths, &[0.0])
    }

    fn samples(&self) -> bool {
        true
    }
}
