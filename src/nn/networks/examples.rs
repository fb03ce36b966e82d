//! What a network of images or sequences accepts as a batch.

use tch::Tensor;

use crate::error::{Error, Result};
use crate::nn::Mode;
use crate::plan::{Instruction, Op, Plan};

/// The shape of an example, and how few of them a batch may have.
pub struct Examples {
    shape: Vec<i64>,
    /// The smallest number of pixels that a batch norm of the plan averages over in one image.
    smallest_area: i64,
}

impl Examples {
    /// Those of a lowered plan.
    pub fn of(plan: &Plan) -> Self {
        let normalised = plan.instructions.iter().filter(|i| matches!(i.op, Op::BatchNorm { .. }));
        let area = |i: &Instruction| i.shape.elements() as i64 / i.shape.channels() as i64;
        Examples {
            shape: plan.example_shape().into_iter().map(|n| n as i64).collect(),
            smallest_area: normalised.map(area).min().unwrap_or(i64::MAX),
        }
    }

    /// Checks a batch.
    pub fn check(&self, x: &Tensor, mode: Mode) -> Result<()> {
        let size = x.size();
        if size.len() != self.shape.len() + 1 || size[1..] != self.shape {
            let expected: Vec<String> = self.shape.iter().map(i64::to_string).collect();
            let what = if expected.len() == 2 { "sequences" } else { "images" };
            return Err(Error::data(format!(
                "expected a batch of {what} of shape [batch, {}], got {size:?}",
                expected.join(", ")
            )));
        }
        if size[0] == 0 {
            return Err(Error::data("expected at least one example in a batch, got none; drop empty batches"));
        }
        if mode != Mode::Evaluation && size[0].saturating_mul(self.smallest_area) < 2 {
            return Err(Error::data(format!(
                "a batch of {} has a single value per channel in the deepest cells, and batch norm needs two; use batches and \
                 micro-batches of at least 2 (drop_last=True), fewer reduction cells or larger images",
                size[0]
            )));
        }
        Ok(())
    }
}
