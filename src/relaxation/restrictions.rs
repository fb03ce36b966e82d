//! The masks and frozen rows of all tables of a search, and what follows from them for readers of α.

use ndarray::{Array2, Array3, Axis};

use super::{Relaxation, TableState, normalize_edges};
use crate::arch::{Decision, LogitTable, TableRole, decision};
use crate::error::{Error, Result, unknown};

/// Arrays [rows, columns] by the name of their table.
pub type Tables = Vec<(String, Array2<f64>)>;

/// The tables of a search with their masks and frozen rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Restrictions {
    /// The tables, in the order of flat α.
    pub tables: Vec<LogitTable>,
    /// The state of each.
    pub states: Vec<TableState>,
}

impl Restrictions {
    /// Nothing is masked but padding, and nothing is frozen.
    pub fn new(tables: &[LogitTable]) -> Restrictions {
        Restrictions { tables: tables.to_vec(), states: tables.iter().map(TableState::new).collect() }
    }

    /// Applies a decision: see [`Decision`]. Stopping and returning to an earlier state are the caller's.
    pub fn apply(&mut self, decision: &Decision) -> Result<()> {
        let (table, row) = match decision {
            Decision::Mask { table, row, .. } | Decision::Freeze { table, row, .. } | Decision::Drop { table, row } => {
                (table, *row)
            }
            Decision::RollBack { .. } | Decision::Stop { .. } => return Ok(()),
        };
        let Some(index) = self.tables.iter().position(|known| known.name == *table) else {
            let names: Vec<&str> = self.tables.iter().map(|known| known.name.as_str()).collect();
            return Err(decision.refuse(&unknown("table", table, &names)));
        };
        if self.tables[index].role == TableRole::EdgeWeights {
            return Err(decision.refuse("the weights of edges have no candidates to decide between"));
        }
        let state = &mut self.states[index];
        let applied = match decision {
            Decision::Mask { columns, .. } => state.mask(row, columns),
            Decision::Freeze { column, .. } => state.freeze(row, Some(*column)),
            _ => state.freeze(row, None),
        };
        applied.map_err(|error| decision.refuse(&error.detail))
    }

    /// The number of logits.
    pub fn total(&self) -> usize {
        self.states.iter().map(|state| state.mask.len()).sum()
    }

    /// Whether an entry of flat α is masked.
    pub fn masked(&self) -> Vec<bool> {
        self.states.iter().flat_map(|state| state.mask.iter().map(|left| !left)).collect()
    }

    /// The arrays of flat α as readers see them: NaN where masked.
    pub fn shown(&self, flat: &[f64]) -> Tables {
        let shown = |(alpha, masked): (&f64, bool)| if masked { f64::NAN } else { *alpha };
        self.arrays(&flat.iter().zip(self.masked()).map(shown).collect::<Vec<_>>())
    }

    /// The mean mixing weights at flat α in an epoch; 0 where masked.
    pub fn strengths(&self, relaxation: &Relaxation, (epoch, epochs): (usize, usize), flat: &[f64]) -> Tables {
        let arrays = self.arrays(flat).into_iter().zip(&self.states).zip(&self.tables);
        let strengths = |(((name, alpha), state), table): (((String, Array2<f64>), &TableState), &LogitTable)| {
            // The weights of edges are those of a group, not of a row.
            let mean = |alpha: &Array2<f64>| state.strengths(relaxation, (epoch, epochs), alpha.view());
            (name, if table.role == TableRole::EdgeWeights { alpha } else { mean(&alpha) })
        };
        let mut found = arrays.map(strengths).collect();
        normalize_edges(&self.tables, &mut found);
        found
    }

    /// The arrays of a flat vector.
    fn arrays(&self, flat: &[f64]) -> Tables {
        let mut rest = flat.iter().copied();
        let mut one = |table: &LogitTable| {
            let shape = (table.rows.len(), table.columns);
            (table.name.clone(), Array2::from_shape_simple_fn(shape, || rest.next().unwrap_or(f64::NAN)))
        };
        self.tables.iter().map(&mut one).collect()
    }
}

/// Flat α at several points as readers see it: arrays [points, rows, columns] by table, NaN where masked. `epochs` holds
/// the epoch of each point. A decision holds for the points of later epochs, and for the last point.
pub fn shown_over_time(
    tables: &[LogitTable],
    decisions: &[(usize, Decision)],
    points: &[Vec<f64>],
    epochs: &[usize],
) -> Result<Vec<(String, Array3<f64>)>> {
    let mut restrictions = Restrictions::new(tables);
    let mut coming = decision::in_effect(decisions).into_iter().peekable();
    let zeros = |table: &LogitTable| Array3::zeros((points.len(), table.rows.len(), table.columns));
    let mut out: Vec<_> = tables.iter().map(|table| (table.name.clone(), zeros(table))).collect();
    for (index, (point, epoch)) in points.iter().zip(epochs).enumerate() {
        let last = index + 1 == points.len();
        while let Some((_, decision)) = coming.next_if(|(taken, _)| last || taken < epoch) {
            restrictions.apply(decision)?;
        }
        for ((_, array), (_, shown)) in out.iter_mut().zip(restrictions.shown(point)) {
            array.index_axis_mut(Axis(0), index).assign(&shown);
        }
    }
    Ok(out)
}

impl Decision {
    /// The error for a decision that cannot be applied.
    pub(crate) fn refuse(&self, why: &str) -> Error {
        let decision = serde_json::json!(self);
        Error::config(format!("the decision {decision} cannot be applied: {why}"))
    }
}
