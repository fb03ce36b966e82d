//! The trajectory of α: its values at each record, the initial point first.

use ndarray::{Array2, Array3};
use tch::{Kind, Tensor};

use crate::config::Record;
use crate::error::{Error, Result};
use crate::params::{Entry, Table};

/// Tables [edges, operations] by name.
pub type Tables = Vec<(String, Array2<f64>)>;

/// α over time. Double precision represents float32 and float64 logits exactly.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trajectory {
    /// The number of completed steps at each record; 0 is the initial point.
    pub steps: Vec<u64>,
    /// One flat α per record.
    pub points: Vec<Vec<f64>>,
}

impl Trajectory {
    /// Records α after `step` completed steps.
    pub fn push(&mut self, step: u64, alpha: &Tensor) -> Result<()> {
        self.push_values(step, values(alpha)?);
        Ok(())
    }

    /// Records values of α after `step` completed steps.
    pub fn push_values(&mut self, step: u64, alpha: Vec<f64>) {
        self.points.push(alpha);
        self.steps.push(step);
    }

    /// Whether to record α after `step` completed steps. The end of an epoch is recorded in any case.
    pub fn wants_step(record: Record, step: u64) -> bool {
        match record {
            Record::Epoch => false,
            Record::Step => true,
            Record::Every(n) => step.is_multiple_of(n as u64),
        }
    }

    /// Tables [T, edges, operations] by name.
    pub fn tables(&self, table: &Table) -> Result<Vec<(String, Array3<f64>)>> {
        let one = |entry: &Entry| -> Result<(String, Array3<f64>)> {
            let span = entry.offset as usize..(entry.offset + entry.length) as usize;
            let values = self.points.iter().flat_map(|p| p[span.clone()].iter().copied()).collect();
            let shape = (self.points.len(), entry.shape[0] as usize, entry.shape[1] as usize);
            let array = Array3::from_shape_vec(shape, values).map_err(|e| Error::engine(e.to_string()))?;
            Ok((entry.name.clone(), array))
        };
        table.entries().iter().map(one).collect()
    }
}

/// The tables [edges, operations] of one flat α by name.
pub fn current(table: &Table, alpha: &Tensor) -> Result<Tables> {
    by_name(table, &values(alpha)?)
}

/// The same, of the values of one flat α.
pub fn by_name(table: &Table, flat: &[f64]) -> Result<Tables> {
    let one = |entry: &Entry| -> Result<(String, Array2<f64>)> {
        let span = entry.offset as usize..(entry.offset + entry.length) as usize;
        let shape = (entry.shape[0] as usize, entry.shape[1] as usize);
        let array = Array2::from_shape_vec(shape, flat[span].to_vec()).map_err(|e| Error::engine(e.to_string()))?;
        Ok((entry.name.clone(), array))
    };
    table.entries().iter().map(one).collect()
}

/// The values of a vector in double precision.
pub fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    let flat = tensor.f_detach()?.f_to_device(tch::Device::Cpu)?.f_to_kind(Kind::Double)?.f_contiguous()?;
    let mut out = vec![0.0; flat.numel()];
    let n = out.len();
    flat.f_copy_data(&mut out, n)?;
    Ok(out)
}
