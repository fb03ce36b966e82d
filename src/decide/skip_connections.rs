//! DARTS+ (Liang et al., 2019), criterion 1: the search stops when the normal cell has several skip connections.

use super::{AtEpochEnd, Decide, Variant};
use crate::arch::{Decision, LogitTable};
use crate::error::{Error, Result};
use crate::variant::{Domain, Parameter, Spec};

const TABLE: &str = "normal";

const SPEC: Spec = Spec {
    name: "skip_connections",
    parameters: &[Parameter { name: "most", default: 2.0, domain: Domain::Whole(1) }],
};

pub const VARIANT: Variant =
    Variant { spec: &SPEC, make: |values| Box::new(SkipConnections { most: values[0] as usize }) };

struct SkipConnections {
    /// The number of skip connections at which the search stops.
    most: usize,
}

fn normal(tables: &[LogitTable]) -> Option<&LogitTable> {
    tables.iter().find(|table| table.name == TABLE)
}

impl Decide for SkipConnections {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn check(&self, tables: &[LogitTable]) -> Result<()> {
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        normal(tables).map(drop).ok_or_else(|| {
            let names = names.join(", ");
            Error::config(format!(
                "`stop` is `skip_connections`, which reads the table `{TABLE}`; the tables of this search are {names}"
            ))
        })
    }

    fn decide(&self, at: &AtEpochEnd) -> Result<Vec<Decision>> {
        let table = normal(at.tables).map(std::slice::from_ref).unwrap_or_default();
        let count = at.architecture.skip_connections(table).unwrap_or(0);
        let stop = || Decision::Stop { reason: format!("{count} skip connections in the normal cell") };
        Ok((count >= self.most).then(stop).into_iter().collect())
    }
}
