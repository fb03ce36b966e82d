//! The running mean and variance of every batch norm: two flat vectors and views of them, and the number of steps that
//! moved each.
//!
//! A running statistic begins as a constant, of which 0.9^t is left after t steps. Evaluation divides that share out:
//! mean / (1 − 0.9^t) and (variance − 0.9^t) / (1 − 0.9^t) are weighted means of the batches alone.

use tch::{Device, Kind, Tensor};

use super::Buffers;
use crate::error::{Error, Result};
use crate::nn::Reach;
use crate::params::{Entry, Table, copy};
use crate::plan::{Op, Plan, StatisticId};

/// The momentum and epsilon of every batch norm. The running variance is unbiased.
pub const MOMENTUM: f64 = 0.1;
pub const EPSILON: f64 = 1e-5;

/// The count of a batch norm whose statistics came without one. Nothing is left of an initial value after so many steps:
/// 0.9^t is below the rounding error of a double from t = 349 on.
const SETTLED: i64 = 1 << 20;
/// The largest count that is read; adding steps to it cannot overflow.
const LARGEST: i64 = 1 << 53;
/// The suffix of a count in state dicts and files, as in PyTorch.
const COUNT: &str = ".num_batches_tracked";
/// The suffixes of all names of [`Buffers::named`].
const SUFFIXES: [&str; 3] = [".running_mean", ".running_var", COUNT];

/// Elements of the running statistics, each with the element that it follows.
#[derive(Debug)]
pub struct Followers {
    leaders: Tensor,
    followers: Tensor,
}

/// The running mean and variance of one or several batch norms, as views.
#[derive(Debug)]
pub struct Running {
    /// As the weight steps move them.
    pub raw: (Tensor, Tensor),
    /// As evaluation reads them: see [`Statistics::correct`].
    pub corrected: (Tensor, Tensor),
}

/// The running statistics of a network. No tensor is ever replaced, so that a captured step finds them.
#[derive(Debug)]
pub struct Statistics {
    table: Table,
    kind: Kind,
    device: Device,
    mean: Tensor,
    variance: Tensor,
    views: Vec<(Tensor, Tensor)>,
    /// The number of weight steps that moved each batch norm, int64.
    counts: Tensor,
    /// The batch norm of each element.
    owners: Tensor,
    corrected: (Tensor, Tensor),
}

impl Statistics {
    /// All means 0, all variances 1, all counts 0.
    pub fn new(table: Table, kind: Kind, device: Device) -> Result<Self> {
        let mean = Tensor::f_zeros([table.total()], (kind, device))?;
        let variance = Tensor::f_ones([table.total()], (kind, device))?;
        let views = table.views(&mean)?.into_iter().zip(table.views(&variance)?).collect();
        let counts = Tensor::f_zeros([table.entries().len() as i64], (Kind::Int64, device))?;
        let owners: Vec<i64> = (0..).zip(table.entries()).flat_map(|(i, e)| (0..e.length).map(move |_| i)).collect();
        let owners = Tensor::f_from_slice(&owners)?.f_to_device(device)?;
        let corrected = (copy(&mean)?, copy(&variance)?);
        Ok(Statistics { table, kind, device, mean, variance, views, counts, owners, corrected })
    }

    /// The batch norms by width.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Whether a name of a state dict is one of running statistics.
    pub fn names(name: &str) -> bool {
        SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
    }

    /// The statistics of consecutive batch norms, as one view of each vector.
    pub fn run<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<Running> {
        let (offset, length) = self.table.run(names)?;
        let views = |mean: &Tensor, variance: &Tensor| {
            Ok::<_, Error>((mean.f_narrow(0, offset, length)?, variance.f_narrow(0, offset, length)?))
        };
        Ok(Running { raw: views(&self.mean, &self.variance)?, corrected: views(&self.corrected.0, &self.corrected.1)? })
    }

    /// Counts a weight step, which moves every batch norm, or those that `moved` says.
    pub fn count(&self, moved: Option<&Tensor>) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let _ = match moved {
            Some(moved) => self.counts.shallow_clone().f_add_(&moved.f_to_kind(Kind::Int64)?)?,
            None => self.counts.shallow_clone().f_add_scalar_(1)?,
        };
        Ok(())
    }

    /// Restores the statistics of the batch norms that did not move, from copies of all of them.
    pub fn restore(&self, (mean, variance): &(Tensor, Tensor), moved: &Tensor) -> Result<()> {
        let moved = moved.f_index_select(0, &self.owners)?;
        Reach::keep(&self.mean, mean, &moved)?;
        Reach::keep(&self.variance, variance, &moved)
    }

    /// Computes the corrected statistics from the raw ones, which do not change. A batch norm that no step has moved
    /// keeps mean 0 and variance 1.
    pub fn correct(&self) -> Result<()> {
        let _guard = tch::no_grad_guard();
        let counts = self.counts.f_index_select(0, &self.owners)?;
        let left = Tensor::f_pow_scalar(1.0 - MOMENTUM, &counts.f_to_kind(Kind::Double)?)?;
        let left = left.f_masked_fill(&counts.f_eq(0)?, 0.0)?;
        let learned = left.f_neg()?.f_add_scalar(1.0)?;
        let double = |tensor: &Tensor| tensor.f_to_kind(Kind::Double);
        self.corrected.0.shallow_clone().f_copy_(&double(&self.mean)?.f_div(&learned)?)?;
        // A variance near 0 can round to less than what is left of the initial one.
        let variance = double(&self.variance)?.f_sub(&left)?.f_div(&learned)?.f_clamp_min(0.0)?;
        Ok(self.corrected.1.shallow_clone().f_copy_(&variance)?)
    }

    /// The statistics that a plan moves through those of another batch norm; None if there are none.
    pub fn followers(&self, plan: &Plan) -> Result<Option<Followers>> {
        let elements = |id: StatisticId| {
            let entry = &self.table.entries()[id.0];
            entry.offset..entry.offset + entry.length
        };
        let (mut leaders, mut followers) = (Vec::<i64>::new(), Vec::<i64>::new());
        for instruction in &plan.instructions {
            let Op::BatchNorm { statistic, aliases, .. } = &instruction.op else { continue };
            for alias in aliases {
                leaders.extend(elements(*statistic));
                followers.extend(elements(*alias));
            }
        }
        if followers.is_empty() {
            return Ok(None);
        }
        let indices = |of: &[i64]| Ok::<_, Error>(Tensor::f_from_slice(of)?.f_to_device(self.device)?);
        Ok(Some(Followers { leaders: indices(&leaders)?, followers: indices(&followers)? }))
    }

    /// Copies of the running means and variances, taken before a pass moves them.
    pub fn remember(&self) -> Result<(Tensor, Tensor)> {
        Ok((copy(&self.mean)?, copy(&self.variance)?))
    }

    /// Moves followers by the batch that moved their leaders from `before` to `moved`:
    /// r ← (1 − m)·r + (moved − (1 − m)·before). The last term is m times the statistics of the batch.
    pub fn follow(&self, followers: &Followers, before: &(Tensor, Tensor)) -> Result<()> {
        let _guard = tch::no_grad_guard();
        for (running, before) in [(&self.mean, &before.0), (&self.variance, &before.1)] {
            let of = |vector: &Tensor, which: &Tensor| vector.f_index_select(0, which);
            let batch = of(running, &followers.leaders)?
                .f_sub(&of(before, &followers.leaders)?.f_mul_scalar(1.0 - MOMENTUM)?)?;
            let moved = of(before, &followers.followers)?.f_mul_scalar(1.0 - MOMENTUM)?.f_add(&batch)?;
            // Like batch norm's own update, this one is invisible to autograd, which saves the running statistics for
            // the backward pass and raises an error if their version changes.
            let _ = running.f_data()?.f_index_copy_(0, &followers.followers, &moved)?;
        }
        Ok(())
    }

    /// Refuses statistics that no batches have: NaN, infinity, negative variances. Counts are not checked.
    pub fn check_values(tensors: &[(String, Tensor)]) -> Result<()> {
        let [means, variances, _] = SUFFIXES;
        for (name, tensor) in tensors {
            let least = if name.ends_with(variances) { 0.0 } else { f64::MIN };
            if least < 0.0 && !name.ends_with(means) {
                continue;
            }
            let good = tensor.f_ge(least)?.f_logical_and(&tensor.f_isfinite()?)?;
            let bad = tensor.f_masked_select(&good.f_logical_not()?)?;
            if bad.numel() > 0 {
                let what = if least == 0.0 { "finite numbers from 0" } else { "finite numbers" };
                let found = bad.f_double_value(&[0])?;
                return Err(Error::data(format!("expected {name} as {what}, got {found}")));
            }
        }
        Ok(())
    }

    /// Checks tensors by name: `tensors` must have exactly the names of [`Buffers::named`], of which counts may be
    /// absent. Returns means and variances in turn as one vector, and the counts.
    fn pack(&self, tensors: &[(String, Tensor)]) -> Result<(Tensor, Tensor)> {
        let mut counts = vec![SETTLED; self.table.entries().len()];
        let mut others = Vec::with_capacity(tensors.len());
        for (name, tensor) in tensors {
            match name.strip_suffix(COUNT).and_then(|owner| self.table.index(owner)) {
                Some(index) => counts[index] = count(name, tensor)?,
                None => others.push((name.clone(), tensor.shallow_clone())),
            }
        }
        let flat = self.vectors_table().pack(&others, self.kind, self.device)?;
        Ok((flat, Tensor::f_from_slice(&counts)?.f_to_device(self.device)?))
    }

    /// The names of means and variances with their shapes.
    fn vectors_table(&self) -> Table {
        Table::new(
            self.table.entries().iter().flat_map(|e| {
                SUFFIXES[..2].iter().map(|suffix| (format!("{}{suffix}", e.name), vec![e.length as usize]))
            }),
        )
    }
}

impl Buffers for Statistics {
    /// Means, variances and counts.
    fn tensors(&self) -> Vec<&Tensor> {
        vec![&self.mean, &self.variance, &self.counts]
    }

    /// Copies of `<batch norm>.running_mean`, `.running_var` and `.num_batches_tracked`.
    fn named(&self) -> Result<Vec<(String, Tensor)>> {
        let mut out = Vec::with_capacity(SUFFIXES.len() * self.views.len());
        for (index, (entry, (mean, variance))) in self.table.entries().iter().zip(&self.views).enumerate() {
            let count = self.counts.f_select(0, index as i64)?;
            for (suffix, tensor) in SUFFIXES.iter().zip([mean, variance, &count]) {
                out.push((format!("{}{suffix}", entry.name), copy(tensor)?));
            }
        }
        Ok(out)
    }

    fn check(&self, tensors: &[(String, Tensor)]) -> Result<()> {
        self.pack(tensors).map(drop)
    }

    fn load(&self, tensors: &[(String, Tensor)]) -> Result<()> {
        let (flat, counts) = self.pack(tensors)?;
        let _guard = tch::no_grad_guard();
        for (pair, (mean, variance)) in self.vectors_table().views(&flat)?.chunks(2).zip(&self.views) {
            mean.shallow_clone().f_copy_(&pair[0])?;
            variance.shallow_clone().f_copy_(&pair[1])?;
        }
        Ok(self.counts.shallow_clone().f_copy_(&counts)?)
    }

    /// The counts.
    fn added_since_format_2(&self, steps: u64) -> Vec<(String, Tensor)> {
        let count = |entry: &Entry| (format!("{}{COUNT}", entry.name), Tensor::from(steps as i64));
        self.table.entries().iter().map(count).collect()
    }
}

/// A count that was read. A state dict whose tensors were all converted to one dtype holds it as a real number.
fn count(name: &str, tensor: &Tensor) -> Result<i64> {
    let (kind, size) = (tensor.kind(), tensor.size());
    if !size.is_empty() || matches!(kind, Kind::Bool | Kind::ComplexHalf | Kind::ComplexFloat | Kind::ComplexDouble) {
        return Err(Error::data(format!(
            "expected {name} as a scalar whole number, got dtype {kind:?} and shape {size:?}"
        )));
    }
    let value = tensor.f_double_value(&[])?;
    if value.fract() != 0.0 || !(0.0..=LARGEST as f64).contains(&value) {
        return Err(Error::data(format!("expected {name} as a whole number from 0 to 2^53, got {value}")));
    }
    Ok(value as i64)
}
