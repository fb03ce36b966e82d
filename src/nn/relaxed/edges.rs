//! Edge normalisation (PC-DARTS): m[e, o] = R(α)[e, o] · b[e], where b is a softmax of logits β over the edges into each
//! node. b itself is the m of the table of β: under partial channels it weights what bypasses the operations.

use tch::{Device, Kind, Tensor};

use crate::arch::LogitTable;
use crate::error::Result;

/// The softmax over the groups of a table of edge weights.
pub struct EdgeSoftmax {
    /// The rows of each group, [groups, longest], padded by the number of rows.
    rows: Tensor,
    /// The place of each row in the flat groups, [rows].
    places: Tensor,
    /// Whether a place holds no row, [groups, longest].
    padding: Tensor,
}

impl EdgeSoftmax {
    /// The groups of a table.
    pub fn new(table: &LogitTable, device: Device) -> Result<Self> {
        let (count, longest) = (table.rows.len(), table.groups.iter().map(Vec::len).max().unwrap_or(0));
        let (mut rows, mut places) = (Vec::new(), vec![0; count]);
        for (index, group) in table.groups.iter().enumerate() {
            for (place, row) in group.iter().enumerate() {
                places[*row] = (index * longest + place) as i64;
            }
            rows.extend(group.iter().map(|row| *row as i64));
            rows.resize((index + 1) * longest, count as i64);
        }
        let shape = [table.groups.len() as i64, longest as i64];
        let rows = Tensor::f_from_slice(&rows)?.f_view(shape)?.f_to_device(device)?;
        let padding = rows.f_eq(count as i64)?;
        Ok(EdgeSoftmax { rows, places: Tensor::f_from_slice(&places)?.f_to_device(device)?, padding })
    }

    /// b of logits [rows, 1].
    pub fn weights(&self, logits: &Tensor) -> Result<Tensor> {
        self.ungrouped(&self.grouped(logits, f64::NEG_INFINITY)?.f_softmax(-1, None::<Kind>)?)
    }

    /// The gradient by the logits of a gradient by b, all [rows, 1].
    pub fn backward(&self, weights: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        let (weights, gradient) = (self.grouped(weights, 0.0)?, self.grouped(gradient, 0.0)?);
        self.ungrouped(&Tensor::f_internal_softmax_backward_data(&gradient, &weights, -1, weights.kind())?)
    }

    fn grouped(&self, values: &Tensor, padding: f64) -> Result<Tensor> {
        let flat = values.f_view([-1])?;
        let padded = Tensor::f_cat(&[&flat, &flat.f_narrow(0, 0, 1)?], 0)?;
        Ok(padded
            .f_index_select(0, &self.rows.f_view([-1])?)?
            .f_view_as(&self.rows)?
            .f_masked_fill(&self.padding, padding)?)
    }

    fn ungrouped(&self, groups: &Tensor) -> Result<Tensor> {
        Ok(groups.f_reshape([-1])?.f_index_select(0, &self.places)?.f_unsqueeze(1)?)
    }
}
