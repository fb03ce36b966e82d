//! Tables of logits α, with one row per choice and one column per candidate.

use std::sync::Arc;

use ndarray::{ArrayView1, ArrayView2};

/// A table of logits: the names of its rows and columns, and the rows that compete with each other.
#[derive(Debug, Clone, PartialEq)]
pub struct LogitTable {
    /// The name, such as `normal`.
    pub name: String,
    /// The rows; in a cell space one per edge.
    pub rows: Vec<LogitRow>,
    /// The number of columns: the largest number of candidates of a row. Shorter rows are padded, and padding is masked.
    pub columns: usize,
    /// Rows that compete: in a cell space the edges into each node. Every row is in exactly one group.
    pub groups: Vec<Vec<usize>>,
    /// The number of candidates that a selection picks from a row that it keeps.
    pub picks: usize,
    /// The number of rows of a group that a selection keeps unless it says otherwise; None: all.
    pub kept: Option<usize>,
    /// The least strength of a row that is kept; None: any.
    pub least: Option<f64>,
    /// The candidate that is never selected, if there is one: `none` in the published spaces.
    pub unselectable: Option<&'static str>,
    /// What its mixing weights multiply.
    pub role: TableRole,
}

/// What the mixing weights of a table multiply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableRole {
    /// The candidates of each row.
    Candidates,
    /// The rows of the table whose name comes before [`EDGE_WEIGHTS`]: the weights of each group are a softmax.
    EdgeWeights,
}

/// The end of the name of a table of edge weights.
pub const EDGE_WEIGHTS: &str = ".beta";

/// The name of the table that holds the weight of the auxiliary skip connections.
pub const AUXILIARY_SKIP: &str = "auxiliary_skip";

/// A row of a table of logits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogitRow {
    /// The label; in a cell space `source->target`.
    pub label: String,
    /// The names of the candidates, in the order of the columns.
    pub candidates: Arc<[String]>,
}

impl LogitTable {
    /// The logits of the edges of this table.
    pub fn edge_weights(&self) -> LogitTable {
        let candidates: Arc<[String]> = Arc::new(["edge".to_string()]);
        let rows = self.rows.iter();
        LogitTable {
            name: format!("{}{EDGE_WEIGHTS}", self.name),
            rows: rows.map(|row| LogitRow { label: row.label.clone(), candidates: candidates.clone() }).collect(),
            columns: 1,
            groups: self.groups.clone(),
            picks: 1,
            kept: None,
            least: None,
            unselectable: None,
            role: TableRole::EdgeWeights,
        }
    }

    /// A table of one mixing weight, which does not depend on logits.
    pub fn constant(name: &str) -> LogitTable {
        let row = LogitRow { label: "0".to_string(), candidates: Arc::new([name.to_string()]) };
        LogitTable {
            name: name.to_string(),
            rows: vec![row],
            columns: 1,
            groups: vec![vec![0]],
            picks: 1,
            kept: None,
            least: None,
            unselectable: None,
            role: TableRole::Candidates,
        }
    }

    /// The place of its edge weights among the tables of a search, if they have any.
    pub fn edge_weights_in(&self, tables: &[LogitTable]) -> Option<usize> {
        let is_of = |other: &LogitTable| {
            other.role == TableRole::EdgeWeights && other.name.strip_suffix(EDGE_WEIGHTS) == Some(self.name.as_str())
        };
        (self.role == TableRole::Candidates).then(|| tables.iter().position(is_of)).flatten()
    }

    /// Whether a column of a row holds a candidate, not padding.
    pub fn holds(&self, row: usize, column: usize) -> bool {
        column < self.rows[row].candidates.len()
    }

    /// Whether a candidate may be selected.
    pub fn selectable(&self, row: usize, column: usize) -> bool {
        self.rows[row].candidates.get(column).is_some_and(|name| Some(name.as_str()) != self.unselectable)
    }
}

/// The softmax of one row of logits. Terms are added in column order, so that equal rows give equal bits.
pub fn softmax(row: &[f64]) -> Vec<f64> {
    let maximum = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = row.iter().map(|logit| (logit - maximum).exp()).collect();
    let sum: f64 = exponentials.iter().fold(0.0, |sum, term| sum + term);
    exponentials.into_iter().map(|term| term / sum).collect()
}

/// The mean over the rows of the entropy (nats) of their strengths; 0 for a table without rows. Without `shares`, the
/// magnitudes of a row are first divided by their sum.
pub fn entropy_of(strengths: ArrayView2<f64>, shares: bool) -> f64 {
    let of_row = |row: ArrayView1<f64>| -> f64 {
        let sum = if shares { 1.0 } else { row.iter().map(|weight| weight.abs()).sum() };
        let terms =
            row.iter().map(|weight| if shares { *weight } else { weight.abs() / sum }).filter(|weight| *weight > 0.0);
        // A decided row has entropy 0, not -0.
        0.0 - terms.map(|weight| weight * weight.ln()).sum::<f64>()
    };
    match strengths.nrows() {
        0 => 0.0,
        rows => strengths.rows().into_iter().map(of_row).sum::<f64>() / rows as f64,
    }
}
