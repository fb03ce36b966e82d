//! DARTS+ (Liang et al., 2019), criterion 1: the search stops when the normal cell, or the only one, has several skip
//! connections.

use super::{AtEpochEnd, Decide};
use crate::arch::{Decision, LogitTable};
use crate::error::{Error, Result};
use crate::variant::{Domain, Parameter, Spec, Variant};

/// The tables whose skip connections count: the first of them that a search has.
const TABLES: [&str; 2] = ["normal", "cell"];

pub struct SkipConnections;

impl Variant for SkipConnections {
    fn spec(&self) -> &'static Spec {
        &Spec {
            name: "skip_connections",
            parameters: &[Parameter { name: "most", default: 2.0, domain: Domain::Whole(1) }],
        }
    }
}

fn counted(tables: &[LogitTable]) -> Option<&LogitTable> {
    TABLES.iter().find_map(|name| tables.iter().find(|table| table.name == *name))
}

impl Decide for SkipConnections {
    fn check(&self, tables: &[LogitTable]) -> Result<()> {
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        counted(tables).map(drop).ok_or_else(|| {
            let names = names.join(", ");
            Error::config(format!(
                "`stop` is `skip_connections`, which reads the table `normal` or `cell`; the tables of this search are \
                 {names}"
            ))
        })
    }

    fn decide(&self, at: &AtEpochEnd, values: &[f64]) -> Result<Vec<Decision>> {
        if at.epoch < at.arch_start_epoch {
            return Ok(Vec::new());
        }
        let Some(table) = counted(at.tables) else { return Ok(Vec::new()) };
        let count = at.architecture.skip_connections(std::slice::from_ref(table)).unwrap_or(0);
        let place = if table.name == "cell" { "the cell" } else { "the normal cell" };
        let plural = if count == 1 { "" } else { "s" };
        let stop = || Decision::Stop { reason: format!("{count} skip connection{plural} in {place}") };
        Ok((count as f64 >= values[0]).then(stop).into_iter().collect())
    }
}
