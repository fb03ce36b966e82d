//! Architectures: the candidates that a selection picked from tables of logits.

use serde::{Deserialize, Serialize};

use super::tables::{LogitTable, TableRole};

/// A candidate that was picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pick {
    /// The row of the table.
    pub row: usize,
    /// The column of the table.
    pub column: usize,
}

/// The candidates that were picked from every table: group by group, and in each group in the order of the selection,
/// the strongest first. Rows without a pick are dropped.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Architecture {
    /// The picks of each table, by its name.
    pub tables: Vec<(String, Vec<Pick>)>,
}

/// The candidates that pass their input on unchanged, by name.
const SKIPS: [&str; 2] = ["skip_connect", "identity"];

impl Architecture {
    /// The picks of a table; none if there is no such table.
    pub fn picks(&self, table: &str) -> &[Pick] {
        self.tables.iter().find(|(name, _)| name == table).map_or(&[], |(_, picks)| picks)
    }

    /// The names of the picked candidates of each row, by table.
    pub fn names(&self, tables: &[LogitTable]) -> Vec<(String, Vec<Vec<String>>)> {
        let names = |table: &LogitTable| {
            let mut rows = vec![Vec::new(); table.rows.len()];
            for pick in self.picks(&table.name) {
                rows[pick.row].extend(table.rows[pick.row].candidates.get(pick.column).cloned());
            }
            (table.name.clone(), rows)
        };
        tables.iter().filter(|table| table.role == TableRole::Candidates).map(names).collect()
    }

    /// The number of picks from `tables` that are skip connections. None if no table has such a candidate.
    pub fn skip_connections(&self, tables: &[LogitTable]) -> Option<usize> {
        let mut known = false;
        let mut count = 0;
        for table in tables {
            let skips = |name: &String| SKIPS.contains(&name.as_str());
            known |= table.rows.iter().any(|row| row.candidates.iter().any(skips));
            let picked = |pick: &&Pick| table.rows[pick.row].candidates.get(pick.column).is_some_and(skips);
            count += self.picks(&table.name).iter().filter(picked).count();
        }
        known.then_some(count)
    }
}
