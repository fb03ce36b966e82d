//! Mixing weights as vectors: the scales of batch norms, and the matrices of products.

use tch::{Device, Kind, Tensor};

use crate::error::Result;
use crate::plan::{AlphaId, Op, Plan, Scale, pairs};

/// Which mixing weights of one α table scale batch norms, and how many channels each; those of a product are a scale
/// of one channel each.
#[derive(Debug)]
pub struct ScaleLayout {
    /// 0/1 of [scales, edges · operations]: which weight a scale is. A product with it has a backward pass that adds
    /// in a fixed order, where gathering would not on a GPU.
    selection: Tensor,
    /// Runs of scales with the same number of channels: (scales, channels).
    runs: Vec<(i64, i64)>,
    /// Channels of each batch norm, in the plan's order.
    lengths: Vec<i64>,
}

impl ScaleLayout {
    /// Of the batch norms of `plan` that are scaled by `alpha`, and of its products.
    pub fn new(plan: &Plan, alpha: AlphaId, kind: Kind, device: Device) -> Result<Self> {
        let (mut cells, mut runs, mut lengths) = (Vec::new(), Vec::<(i64, i64)>::new(), Vec::new());
        let columns = plan.alphas[alpha.0].operations;
        for instruction in &plan.instructions {
            let (table, terms, channels) = match &instruction.op {
                Op::BatchNorm { scale: Scale::Mixing { alpha, terms }, .. } => {
                    (alpha, terms.clone(), instruction.shape.channels() / terms.len())
                }
                Op::Mixtures { alpha, rows, columns } => (alpha, pairs(rows, columns), 1),
                _ => continue,
            };
            if *table != alpha {
                continue;
            }
            let channels = channels as i64;
            lengths.push(channels * terms.len() as i64);
            cells.extend(terms.iter().map(|(row, column)| (row * columns + column) as i64));
            match runs.last_mut().filter(|run| run.1 == channels) {
                Some(run) => run.0 += terms.len() as i64,
                None => runs.push((terms.len() as i64, channels)),
            }
        }
        let all = (plan.alphas[alpha.0].edges * columns) as i64;
        let selection = Tensor::f_from_slice(&cells)?.f_one_hot(all)?.f_to_device(device)?.f_to_kind(kind)?;
        Ok(ScaleLayout { selection, runs, lengths })
    }

    /// Every scale, repeated over its channels: softmax(α), flat, as one vector a batch norm.
    pub fn scales(&self, table: &Tensor) -> Result<Vec<Tensor>> {
        if self.lengths.is_empty() {
            return Ok(Vec::new());
        }
        // Not a matrix product, which a GPU might round.
        let selected = self.selection.f_mul(table)?.f_sum_dim_intlist([1i64].as_slice(), false, None)?;
        let (mut parts, mut start) = (Vec::with_capacity(self.runs.len()), 0);
        for &(count, channels) in &self.runs {
            let run = selected.f_narrow(0, start, count)?.f_unsqueeze(1)?;
            parts.push(run.f_expand([count, channels], false)?.f_reshape([-1])?);
            start += count;
        }
        Ok(Tensor::f_cat(&parts, 0)?.f_split_with_sizes(self.lengths.as_slice(), 0)?)
    }
}
