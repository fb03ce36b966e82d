//! The trajectory of α: its values at each record, the initial point first.

use tch::{Kind, Tensor};

use crate::config::Record;
use crate::error::Result;

/// α over time. Double precision represents float32 and float64 logits exactly.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trajectory {
    /// The number of completed steps at each record; 0 is the initial point.
    pub steps: Vec<u64>,
    /// The epoch of the latest step at each record, whose parameters of the relaxation hold; 0 at the initial point.
    pub epochs: Vec<usize>,
    /// One flat α per record.
    pub points: Vec<Vec<f64>>,
}

impl Trajectory {
    /// Records values of α after `step` completed steps, the latest of which was in `epoch`.
    pub fn push(&mut self, step: u64, epoch: usize, alpha: Vec<f64>) {
        self.steps.push(step);
        self.epochs.push(epoch);
        self.points.push(alpha);
    }

    /// Whether to record α after `step` completed steps. The end of an epoch is recorded in any case.
    pub fn wants_step(record: Record, step: u64) -> bool {
        match record {
            Record::Epoch => false,
            Record::Step => true,
            Record::Every(n) => step.is_multiple_of(n as u64),
        }
    }
}

/// The values of a vector in double precision.
pub fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    let flat = tensor.f_detach()?.f_to_device(tch::Device::Cpu)?.f_to_kind(Kind::Double)?.f_contiguous()?;
    let mut out = vec![0.0; flat.numel()];
    let n = out.len();
    flat.f_copy_data(&mut out, n)?;
    Ok(out)
}
