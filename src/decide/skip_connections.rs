//! DARTS+ (Liang et al., 2019), criterion 1: the search stops when the normal cell has several skip connections.

use super::{AtEpochEnd, Decide};
use crate::arch::{Decision, LogitTable};
use crate::error::{Error, Result};
use crate::variant::{Domain, Parameter, Spec, Variant};

const TABLE: &str = "normal";

pub struct SkipConnections;

impl Variant for SkipConnections {
    fn spec(&self) -> &'static Spec {
        &Spec {
            name: "skip_connections",
            parameters: &[Parameter { name: "most", default: 2.0, domain: Domain::Whole(1) }],
        }
    }
}

fn normal(tables: &[LogitTable]) -> Option<&LogitTable> {
    tables.iter().find(|table| table.name == TABLE)
}

impl Decide for SkipConnections {
    fn check(&self, tables: &[LogitTable]) -> Result<()> {
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        normal(tables).map(drop).ok_or_else(|| {
            let names = names.join(", ");
            Error::config(format!(
                "`stop` is `skip_connections`, which reads the table `{TABLE}`; the tables of this search are {names}"
            ))
        })
    }

    fn decide(&self, at: &AtEpochEnd, values: &[f64]) -> Result<Vec<Decision>> {
        if at.epoch < at.arch_start_epoch {
            return Ok(Vec::new());
        }
        let table = normal(at.tables).map(std::slice::from_ref).unwrap_or_default();
        let count = at.architecture.skip_connections(table).unwrap_or(0);
        let plural = if count == 1 { "" } else { "s" };
        let stop = || Decision::Stop { reason: format!("{count} skip connection{plural} in the normal cell") };
        Ok((count as f64 >= values[0]).then(stop).into_iter().collect())
    }
}
