//! The selection "sampled": of random architectures the one that the trained network evaluates best.

use std::collections::HashSet;

use tch::Tensor;

use super::select::AtSelection;
use super::trajectory;
use crate::arch::{Architecture, LogitTable, Pick, TableRole};
use crate::error::{Error, Result};
use crate::nn::{Mode, Parts};
use crate::random;
use crate::ranks::Ranks;
use crate::relaxation::{Restrictions, TableState, open_rows};

/// Draws architectures, scores each on some validation batches, and the best on all; ties go to the earlier one. Before
/// the last epoch few are drawn and scored on one batch. `values`: the parameters of the rule. A function of the seed and
/// the state alone.
pub fn select(at: &mut AtSelection, values: &[f64]) -> Result<Architecture> {
    let [samples, batches, finalists, epoch_samples] = values else {
        return Err(Error::engine("expected the four parameters of the selection `sampled`"));
    };
    let (samples, batches, finalists) = match at.last {
        true => (*samples as u64, *batches as usize, *finalists as usize),
        false => (*epoch_samples as u64, 1, 1),
    };
    let _guard = tch::no_grad_guard();
    // A resumed search may begin here.
    at.network.draw(at.state.step, &Parts::default())?;
    let mut seen = HashSet::new();
    let mut left = Vec::new();
    for sample in 0..samples {
        (at.poll)()?;
        let architecture = draw(at.restrictions, at.seed, at.state.step, sample);
        if seen.insert(architecture.clone()) {
            left.push(architecture);
        }
    }
    if left.len() > 1 {
        left = best(at, left, Some(batches), finalists)?;
    }
    if left.len() > 1 {
        left = best(at, left, None, 1)?;
    }
    left.into_iter().next().ok_or_else(|| Error::engine("no architecture was drawn"))
}

/// A random architecture: in each group as many rows as are kept, in each row a candidate; all are equally likely.
fn draw(restrictions: &Restrictions, seed: u64, step: u64, sample: u64) -> Architecture {
    let tables = restrictions.tables.iter().zip(&restrictions.states);
    let tables = tables.filter(|(table, _)| table.role == TableRole::Candidates);
    Architecture {
        tables: tables.map(|(table, state)| (table.name.clone(), picks(table, state, seed, step, sample))).collect(),
    }
}

fn picks(table: &LogitTable, state: &TableState, seed: u64, step: u64, sample: u64) -> Vec<Pick> {
    let available = state.available();
    let some = |purpose: &str, index: usize, all: &[usize], most: usize| {
        let purpose = format!("selection.{}.{purpose}.{index}.{sample}", table.name);
        let order = random::permutation(seed, &purpose, step, all.len());
        let mut chosen: Vec<usize> = order.into_iter().take(most).map(|place| all[place]).collect();
        chosen.sort_unstable();
        chosen
    };
    let columns = |row: usize| -> Vec<usize> {
        let is_left = |column: &usize| available[row * table.columns + column] && table.selectable(row, *column);
        (0..table.columns).filter(is_left).collect()
    };
    let mut picks = Vec::new();
    for (index, group) in table.groups.iter().enumerate() {
        // Decided rows are kept, and count.
        let (mut open, kept) = open_rows(table, state, group);
        open.retain(|row| !columns(*row).is_empty());
        let mut rows: Vec<usize> = group.iter().copied().filter(|row| state.frozen[*row]).collect();
        rows.extend(some("rows", index, &open, kept));
        rows.sort_unstable();
        for row in rows {
            let chosen = some("columns", row, &columns(row), table.picks);
            picks.extend(chosen.into_iter().map(|column| Pick { row, column }));
        }
    }
    picks
}

/// The `most` best of some architectures on the first validation batches, or on all: by accuracy, or by the loss where
/// there is none. Each batch is read once.
fn best(
    at: &mut AtSelection,
    all: Vec<Architecture>,
    batches: Option<usize>,
    most: usize,
) -> Result<Vec<Architecture>> {
    let mean = trajectory::values(&at.relaxed.mean(&at.state.alpha)?)?;
    let weights = all.iter().map(|one| mixing(at, &mean, one)).collect::<Result<Vec<_>>>()?;
    let ranks = at.relaxed.ranks;
    let own = scores(at, &weights, batches);
    let scores = ranks.agree(own)?.into_iter().map(|score| score.of_all(ranks)).collect::<Result<Vec<_>>>()?;
    if scores.iter().any(|score| score.examples == 0.0) {
        return Err(Error::data("expected at least one validation batch for the selection, got none"));
    }
    let mut ranked: Vec<(f64, Architecture)> = scores.iter().map(Score::value).zip(all).collect();
    ranked.sort_by(|(one, _), (other, _)| other.total_cmp(one)); // stable
    Ok(ranked.into_iter().take(most).map(|(_, architecture)| architecture).collect())
}

/// The scores of some mixing weights on the own share of the first validation batches, or of all.
fn scores(at: &mut AtSelection, weights: &[Tensor], batches: Option<usize>) -> Result<Vec<Score>> {
    let mut scores = vec![Score::default(); weights.len()];
    let mut carried: Vec<Option<Tensor>> = weights.iter().map(|_| None).collect();
    let share = at.relaxed.ranks.share();
    at.evaluation.start(at.pass, 0)?;
    let mut read = 0;
    while batches.is_none_or(|batches| read < batches)
        && let Some(mut batch) = at.evaluation.next()?
    {
        at.network.begin_batch((read * share.ranks + share.rank) as u64)?;
        read += 1;
        if batch.width() == 0 {
            continue;
        }
        for ((m, score), carried) in weights.iter().zip(&mut scores).zip(&mut carried) {
            (at.poll)()?;
            batch.carried = carried.take().filter(|_| !batch.begins);
            let pass = at.network.loss(&at.state.w, m, &batch, Mode::Evaluation)?;
            let examples = batch.examples() as f64;
            score.examples += examples;
            score.loss += pass.value.f_double_value(&[])? * examples;
            let correct = pass.correct.map(|correct| correct.f_double_value(&[])).transpose()?;
            score.correct = score.correct.zip(correct).map(|(sum, correct)| sum + correct);
            *carried = pass.carried;
        }
    }
    Ok(scores)
}

/// The mixing weights of one architecture: 1 for what it picks, times the weight of its edge. Weights of edges and
/// constants are those of the mean.
fn mixing(at: &AtSelection, mean: &[f64], architecture: &Architecture) -> Result<Tensor> {
    let (mut m, tables, mut first) = (mean.to_vec(), &at.restrictions.tables, 0);
    for table in tables {
        let edges = table.edge_weights_in(tables).map(|index| &at.strengths[index].1);
        let next = first + table.rows.len() * table.columns;
        if table.role == TableRole::Candidates {
            m[first..next].fill(0.0);
        }
        for pick in architecture.picks(&table.name) {
            m[first + pick.row * table.columns + pick.column] = edges.map_or(1.0, |weights| weights[[pick.row, 0]]);
        }
        first = next;
    }
    Ok(Tensor::f_from_slice(&m)?.f_to_kind(at.network.kind())?.f_to_device(at.network.device())?)
}

/// Sums over batches.
#[derive(Clone)]
struct Score {
    loss: f64,
    correct: Option<f64>,
    examples: f64,
}

impl Default for Score {
    fn default() -> Self {
        Score { loss: 0.0, correct: Some(0.0), examples: 0.0 }
    }
}

impl Score {
    /// The sums over the shares of all ranks.
    fn of_all(self, ranks: Ranks) -> Result<Score> {
        let own = [self.loss, self.correct.unwrap_or(0.0), f64::from(u8::from(self.correct.is_none())), self.examples];
        let [loss, correct, without, examples] = ranks.sum_numbers(own)?;
        Ok(Score { loss, correct: (without == 0.0).then_some(correct), examples })
    }

    /// The accuracy, or minus the loss; NaN is the worst.
    fn value(&self) -> f64 {
        let value = self.correct.unwrap_or(-self.loss) / self.examples;
        if value.is_nan() { f64::NEG_INFINITY } else { value }
    }
}
