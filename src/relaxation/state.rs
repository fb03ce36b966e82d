//! The masks and frozen rows of a table of logits: state that decisions change, on the host.

use ndarray::{Array2, ArrayView2};

use super::Relaxation;
use crate::arch::LogitTable;
use crate::error::{Error, Result};

/// Which candidates of a table are left, and which rows are decided.
#[derive(Debug, Clone, PartialEq)]
pub struct TableState {
    /// Whether a candidate is left, [rows · columns]; padding never is.
    pub mask: Vec<bool>,
    /// Whether a row has fixed mixing weights, [rows].
    pub frozen: Vec<bool>,
    /// The mixing weights of frozen rows, [rows · columns]; 0 elsewhere.
    pub frozen_value: Vec<f64>,
    columns: usize,
}

impl TableState {
    /// Nothing is masked but padding, and nothing is frozen.
    pub fn new(table: &LogitTable) -> TableState {
        let (rows, columns) = (table.rows.len(), table.columns);
        let holds = |index: usize| table.holds(index / columns, index % columns);
        TableState {
            mask: (0..rows * columns).map(holds).collect(),
            frozen: vec![false; rows],
            frozen_value: vec![0.0; rows * columns],
            columns,
        }
    }

    /// The state with these values, [rows · columns], [rows] and [rows · columns], if they do not contradict each other.
    pub fn restore(
        table: &LogitTable,
        mask: Vec<bool>,
        frozen: Vec<bool>,
        frozen_value: Vec<f64>,
    ) -> Result<TableState> {
        let columns = table.columns;
        for (row, frozen) in frozen.iter().enumerate() {
            let span = row * columns..(row + 1) * columns;
            let (mask, value) = (&mask[span.clone()], &frozen_value[span]);
            if !mask.contains(&true) {
                return Err(Error::data(format!("row {row} has no candidate left")));
            }
            if let Some(column) = (0..columns).find(|column| mask[*column] && !table.holds(row, *column)) {
                return Err(Error::data(format!("row {row} has no candidate in column {column}, which is not masked")));
            }
            let sound = |(left, value): (&bool, &f64)| value.is_finite() && (*value == 0.0 || (*left && *frozen));
            if let Some(column) = mask.iter().zip(value).position(|entry| !sound(entry)) {
                let value = value[column];
                return Err(Error::data(format!("the fixed mixing weight of row {row}, column {column} is {value}")));
            }
        }
        Ok(TableState { mask, frozen, frozen_value, columns })
    }

    /// Removes candidates of a row.
    pub fn mask(&mut self, row: usize, columns: &[usize]) -> Result<()> {
        let mut left = self.row(row)?.to_vec();
        for column in columns {
            let candidate = left.get_mut(*column).filter(|candidate| **candidate);
            *candidate
                .ok_or_else(|| Error::config(format!("row {row} has no candidate in column {column} to mask")))? =
                false;
        }
        if let Some(column) = columns.iter().find(|column| self.frozen_value[row * self.columns + **column] != 0.0) {
            return Err(Error::config(format!("row {row} is decided for the candidate in column {column}")));
        }
        if !left.contains(&true) {
            return Err(Error::config(format!("masking columns {columns:?} leaves row {row} without a candidate")));
        }
        self.mask[row * self.columns..(row + 1) * self.columns].copy_from_slice(&left);
        Ok(())
    }

    /// Fixes the mixing weights of a row: 1 for one candidate and 0 for the others, or 0 for all.
    pub fn freeze(&mut self, row: usize, column: Option<usize>) -> Result<()> {
        let left = self.row(row)?;
        if let Some(column) = column.filter(|column| left.get(*column) != Some(&true)) {
            return Err(Error::config(format!("row {row} has no candidate in column {column} to freeze")));
        }
        self.frozen[row] = true;
        let value = &mut self.frozen_value[row * self.columns..(row + 1) * self.columns];
        value.fill(0.0);
        if let Some(column) = column {
            value[column] = 1.0;
        }
        Ok(())
    }

    fn row(&self, row: usize) -> Result<&[bool]> {
        let row_mask = (row < self.frozen.len()).then(|| &self.mask[row * self.columns..(row + 1) * self.columns]);
        row_mask.ok_or_else(|| Error::config(format!("there is no row {row}; the table has {}", self.frozen.len())))
    }

    /// The state of α as readers see it, NaN where masked. `fixed` holds the mixing weights of frozen rows, NaN elsewhere.
    pub fn of_shown(alpha: ArrayView2<f64>, fixed: ArrayView2<f64>) -> TableState {
        let frozen: Vec<bool> = fixed.rows().into_iter().map(|row| row.iter().any(|value| !value.is_nan())).collect();
        let value = |value: &f64| if value.is_nan() { 0.0 } else { *value };
        let mask = alpha.iter().map(|logit| !logit.is_nan()).collect();
        TableState { mask, frozen, frozen_value: fixed.iter().map(value).collect(), columns: alpha.ncols() }
    }

    /// Whether an entry does not move, [rows · columns]: masked, or in a frozen row.
    pub fn fixed(&self) -> Vec<bool> {
        (0..self.mask.len()).map(|index| !self.mask[index] || self.frozen[index / self.columns]).collect()
    }

    /// Whether a candidate may still be picked, [rows · columns]: not masked, and in a frozen row the one that is kept.
    pub fn available(&self) -> Vec<bool> {
        let kept = |index: usize| !self.frozen[index / self.columns] || self.frozen_value[index] != 0.0;
        (0..self.mask.len()).map(|index| self.mask[index] && kept(index)).collect()
    }

    /// The strengths of the candidates at logits α [rows, columns]: the mean mixing weights in an epoch, 0 where masked.
    pub fn strengths(
        &self,
        relaxation: &Relaxation,
        (epoch, epochs): (usize, usize),
        alpha: ArrayView2<f64>,
    ) -> Array2<f64> {
        let values = relaxation.at(epoch, epochs);
        let mut strengths = Array2::zeros(alpha.dim());
        for (row, mut out) in strengths.rows_mut().into_iter().enumerate() {
            let span = row * self.columns..(row + 1) * self.columns;
            let (mask, frozen) = (&self.mask[span.clone()], &self.frozen_value[span]);
            let left = |(logit, left): (&f64, &bool)| if *left { *logit } else { f64::NEG_INFINITY };
            let logits: Vec<f64> = alpha.row(row).iter().zip(mask).map(left).collect();
            let mean = if self.frozen[row] { frozen.to_vec() } else { relaxation.rule().mean(&logits, &values) };
            for ((out, weight), left) in out.iter_mut().zip(mean).zip(mask) {
                *out = if *left { weight } else { 0.0 };
            }
        }
        strengths
    }

    /// Strengths for a selection: NaN, which means not available, where a candidate is masked, or where its row is
    /// decided for another one or removed.
    pub fn selectable(&self, mut strengths: Array2<f64>) -> Array2<f64> {
        let available = strengths.iter_mut().zip(self.available());
        available.filter(|(_, available)| !available).for_each(|(strength, _)| *strength = f64::NAN);
        strengths
    }
}
