//! Selections by strength: rules that pick candidates of a table of logits by their mixing weights.

mod argmax;
mod genotype;
mod sampled;
mod strongest;
mod threshold;

use ndarray::{Array2, ArrayView2};

use super::{Architecture, LogitTable, Pick, TableRole};
use crate::error::Result;
use crate::json::Field;
use crate::variant::{Chosen, Variant};

pub use genotype::{Named, genotype, tables};

/// A rule that picks candidates. Strengths are the mean mixing weights of a table, [rows, columns]. A candidate whose
/// strength is NaN or −∞ is not available, and neither is one that the table calls unselectable.
pub trait Rule: Variant {
    /// The picks of a table: group by group, in each group the strongest first. `values`: the parameters.
    fn pick(&self, table: &LogitTable, strengths: ArrayView2<f64>, values: &[f64]) -> Vec<Pick>;
    /// Whether a search scores random architectures instead.
    fn samples(&self) -> bool {
        false
    }
}

/// All selections by strength. The first is the published one.
pub const ALL: &[&dyn Rule] = &[&strongest::Strongest, &argmax::Argmax, &threshold::Threshold, &sampled::Sampled];

/// A selection with the values of its parameters.
pub type Selection = Chosen<dyn Rule>;

impl Default for Selection {
    fn default() -> Self {
        Chosen::new(ALL[0])
    }
}

/// The selection that a field of a configuration gives.
pub(crate) fn read(field: &Field) -> Result<Selection> {
    Chosen::read(field, ALL)
}

impl Selection {
    /// The architecture that it picks from tables with these strengths, one array [rows, columns] per table.
    pub fn architecture(&self, tables: &[LogitTable], strengths: &[Array2<f64>]) -> Architecture {
        // Parameters of selections have no schedules.
        let values = self.at(0, 1);
        let picks = |(table, strengths): (&LogitTable, &Array2<f64>)| {
            (table.name.clone(), self.rule().pick(table, strengths.view(), &values))
        };
        let candidates = tables.iter().zip(strengths).filter(|(table, _)| table.role == TableRole::Candidates);
        Architecture { tables: candidates.map(picks).collect() }
    }
}

/// The best available candidates of each row of a group, as many as the table says, and their strengths, the strongest
/// first. Equal strengths go to the lower row and the lower column.
pub fn ranked(table: &LogitTable, group: &[usize], strengths: ArrayView2<f64>) -> Vec<(f64, Pick)> {
    let strongest_first = |found: &mut Vec<(f64, Pick)>| found.sort_by(|(left, _), (right, _)| right.total_cmp(left)); // stable
    let best = |row: usize| {
        let all = strengths.row(row).into_iter().copied().enumerate();
        let available =
            |(column, strength): &(usize, f64)| *strength > f64::NEG_INFINITY && table.selectable(row, *column);
        let mut found: Vec<_> =
            all.filter(available).map(|(column, strength)| (strength, Pick { row, column })).collect();
        strongest_first(&mut found);
        found.truncate(table.picks);
        found
    };
    let mut found: Vec<(f64, Pick)> = group.iter().copied().flat_map(best).collect();
    strongest_first(&mut found);
    found
}
