//! The random numbers behind relaxations: functions of (seed, purpose, step), drawn on the host before a step.

use super::TableState;
use super::dirichlet::{ATTEMPTS, BLOCKS};
use crate::arch::LogitTable;
use crate::random;

/// What a relaxation draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noise {
    /// Nothing.
    None,
    /// Independent numbers of the standard Gumbel distribution, −ln(−ln U).
    Gumbel,
    /// A sample of a Dirichlet distribution per row. Its parameters depend on α, so the numbers that are drawn on the
    /// host are normal and uniform ones, which [`super::Relax::sample`] turns into a sample.
    Dirichlet,
    /// A uniform random architecture: per group of rows as many distinct rows as the table keeps, and in each of them
    /// one candidate that is left. The numbers are the mixing weights themselves.
    Architecture,
}

impl Noise {
    /// How many numbers are drawn for each entry of a table.
    pub fn blocks(self) -> usize {
        match self {
            Noise::None => 0,
            Noise::Gumbel | Noise::Architecture => 1,
            Noise::Dirichlet => BLOCKS,
        }
    }

    /// The numbers of a table in a state, [blocks · rows · columns].
    pub fn draw(self, (seed, purpose, step): (u64, &str, u64), table: &LogitTable, state: &TableState) -> Vec<f64> {
        let count = table.rows.len() * table.columns;
        match self {
            Noise::None => Vec::new(),
            Noise::Gumbel => random::gumbel(seed, purpose, step, count),
            Noise::Dirichlet => {
                let mut numbers = random::normal(seed, &format!("{purpose}.normal"), step, ATTEMPTS * count);
                let uniform =
                    random::uniform(seed, &format!("{purpose}.uniform"), step, (BLOCKS - ATTEMPTS) * count, 0.0, 1.0);
                // 1 − u is in (0, 1], where the logarithm is finite.
                numbers.extend(uniform.into_iter().map(|u| (1.0 - u).ln()));
                numbers
            }
            Noise::Architecture => architecture((seed, purpose, step), table, state),
        }
    }
}

/// The mixing weights of a uniform random architecture.
fn architecture((seed, purpose, step): (u64, &str, u64), table: &LogitTable, state: &TableState) -> Vec<f64> {
    let mut m = vec![0.0; table.rows.len() * table.columns];
    for (number, group) in table.groups.iter().enumerate() {
        let (open, left) = open_rows(table, state, group);
        let rows = random::permutation(seed, &format!("{purpose}.rows.{number}"), step, open.len());
        for row in rows.into_iter().take(left).map(|index| open[index]) {
            let candidates: Vec<usize> = (0..table.columns)
                .map(|column| row * table.columns + column)
                .filter(|index| state.mask[*index])
                .collect();
            let first = random::permutation(seed, &format!("{purpose}.candidate.{row}"), step, candidates.len());
            if let Some(entry) = first.first().map(|index| candidates[*index]) {
                m[entry] = 1.0;
            }
        }
    }
    m
}

/// The rows of a group that no decision has fixed, and how many of them an architecture keeps.
pub fn open_rows(table: &LogitTable, state: &TableState, group: &[usize]) -> (Vec<usize>, usize) {
    let span = |row: usize| row * table.columns..(row + 1) * table.columns;
    let decided =
        |row: &&usize| state.frozen[**row] && state.frozen_value[span(**row)].iter().any(|weight| *weight != 0.0);
    let open: Vec<usize> = group.iter().copied().filter(|row| !state.frozen[*row]).collect();
    let kept = table.kept.unwrap_or(group.len()).saturating_sub(group.iter().filter(decided).count());
    let kept = kept.min(open.len());
    (open, kept)
}

/// The probability with which a uniform random architecture keeps each row, [rows]; 1 for rows that a decision has fixed.
pub fn row_shares(table: &LogitTable, state: &TableState) -> Vec<f64> {
    let mut shares = vec![1.0; table.rows.len()];
    for group in &table.groups {
        let (open, kept) = open_rows(table, state, group);
        open.iter().for_each(|row| shares[*row] = kept as f64 / open.len() as f64);
    }
    shares
}
