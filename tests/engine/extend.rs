//! What a fork writes to extend the engine: the page "Extend pydarts" shows these sections.
#![cfg(feature = "torch")]

use crate::capture::{Search, search};
use crate::common::table;
use pydarts::arch::LogitTable;
use pydarts::arch::selection::Selection;
use pydarts::decide::Stop;
use pydarts::event::Status;
use pydarts::nn::{Draw, Relaxations, Role};
use pydarts::relaxation::Relaxation;
use pydarts::schedule::Schedule;
use serde_json::json;
use tch::{Device, Kind, Tensor};

// --8<-- [start:relaxation]
mod floor {
    //! A softmax that leaves every candidate a share of at least ε/n: m = (1 − ε)·softmax(α) + ε/n.

    use pydarts::arch;
    use pydarts::error::Result;
    use pydarts::relaxation::{Inputs, Relax};
    use pydarts::variant::{Domain, Parameter, Spec, Variant};
    use tch::Tensor;

    pub struct Floor;

    impl Variant for Floor {
        fn spec(&self) -> &'static Spec {
            &Spec {
                name: "floor",
                parameters: &[Parameter { name: "epsilon", default: 0.1, domain: Domain::Number(0.0, 0.99) }],
            }
        }
    }

    impl Relax for Floor {
        /// In float64, for selections and plots. Masked logits are −∞.
        fn mean(&self, row: &[f64], values: &[f64]) -> Vec<f64> {
            let left = row.iter().filter(|logit| logit.is_finite()).count() as f64;
            arch::softmax(row).into_iter().map(|share| (1.0 - values[0]) * share + values[0] / left).collect()
        }

        /// m of a table [rows, columns]; the engine sets masked entries to 0.
        fn weights(&self, alpha: &Tensor, at: &Inputs) -> Result<Tensor> {
            let epsilon = &at.values[0];
            let left = alpha.f_isfinite()?.f_sum_dim_intlist([-1i64].as_slice(), true, alpha.kind())?;
            let shares = alpha.f_softmax(-1, None)?;
            Ok(shares.f_sub(&shares.f_mul(epsilon)?)?.f_add(&left.f_reciprocal()?.f_mul(epsilon)?)?)
        }

        /// J_Rᵀ·gradient = (1 − ε)·p ∘ (g − ⟨p, g⟩), p the softmax.
        fn backward(&self, alpha: &Tensor, _m: &Tensor, gradient: &Tensor, at: &Inputs) -> Result<Tensor> {
            let shares = alpha.f_softmax(-1, None)?;
            let back = Tensor::f_internal_softmax_backward_data(gradient, &shares, -1, shares.kind())?;
            Ok(back.f_sub(&back.f_mul(&at.values[0])?)?)
        }
    }
}
// --8<-- [end:relaxation]

// --8<-- [start:selection]
mod above_mean {
    //! Keeps the rows of a group that are at least as strong as the mean of the group.

    use ndarray::ArrayView2;
    use pydarts::arch::selection::{Rule, ranked};
    use pydarts::arch::{LogitTable, Pick};
    use pydarts::variant::{Spec, Variant};

    pub struct AboveMean;

    impl Variant for AboveMean {
        fn spec(&self) -> &'static Spec {
            &Spec { name: "above_mean", parameters: &[] }
        }
    }

    impl Rule for AboveMean {
        /// Group by group, the strongest first. A candidate that is not available has strength NaN; `ranked` leaves
        /// it out, and decides ties.
        fn pick(&self, table: &LogitTable, strengths: ArrayView2<f64>, _values: &[f64]) -> Vec<Pick> {
            let mut picks = Vec::new();
            for group in &table.groups {
                let best = ranked(table, group, strengths);
                let mean = best.iter().map(|(strength, _)| strength).sum::<f64>() / best.len() as f64;
                picks.extend(best.into_iter().filter(|(strength, _)| *strength >= mean).map(|(_, pick)| pick));
            }
            picks
        }
    }
}
// --8<-- [end:selection]

// --8<-- [start:decider]
mod commit {
    //! Freezes every row whose strongest candidate has reached a share, and stops when all rows are frozen.

    use pydarts::arch::Decision;
    use pydarts::decide::{AtEpochEnd, Decide};
    use pydarts::error::Result;
    use pydarts::variant::{Domain, Parameter, Spec, Variant};

    pub struct Commit;

    impl Variant for Commit {
        fn spec(&self) -> &'static Spec {
            &Spec {
                name: "commit",
                parameters: &[Parameter { name: "share", default: 0.9, domain: Domain::Number(0.0, 1.0) }],
            }
        }
    }

    impl Decide for Commit {
        /// A function of its arguments alone, so that a resumed search decides the same.
        fn decide(&self, at: &AtEpochEnd, values: &[f64]) -> Result<Vec<Decision>> {
            let (mut decisions, mut open) = (Vec::new(), false);
            for ((table, strengths), state) in at.strengths.iter().zip(at.states) {
                for (row, shares) in strengths.rows().into_iter().enumerate() {
                    let column = shares.iter().position(|share| *share >= values[0]);
                    match column.filter(|_| !state.frozen[row]) {
                        Some(column) => decisions.push(Decision::Freeze { table: table.clone(), row, column }),
                        None => open |= !state.frozen[row],
                    }
                }
            }
            if !open {
                decisions.push(Decision::Stop { reason: "every row is decided".into() });
            }
            Ok(decisions)
        }
    }
}
// --8<-- [end:decider]

#[test]
fn a_selection_of_a_fork_picks_what_it_says() {
    let table = LogitTable { groups: vec![vec![0, 1], vec![2, 3]], ..table("alpha", 4, 2) };
    let strengths = ndarray::array![[0.9, 0.1], [0.4, 0.6], [f64::NAN, 0.5], [0.5, 0.5]];
    let architecture = Selection::new(&above_mean::AboveMean).architecture(&[table], &[strengths]);
    let picks = architecture.picks("alpha").iter().map(|pick| (pick.row, pick.column));
    assert_eq!(picks.collect::<Vec<_>>(), [(0, 0), (2, 1), (3, 0)]);
}

#[test]
fn a_decider_of_a_fork_freezes_rows_and_stops_the_search() {
    // At the initial α of three candidates, every row has one with a share above a third.
    let options = json!({"epochs": 3, "nodes": 2, "operations": ["none", "skip_connect", "max_pool_3x3"]});
    let decider = |share: f64| Stop::new(&commit::Commit).with("share", Schedule::Constant(share));
    let run = |share: f64| Search { deciders: vec![decider(share)], ..search(options.clone()) }.run(None).outcome;
    let (eager, patient) = (run(0.33), run(0.999));
    assert_eq!((eager.status, eager.history.len(), eager.decisions.len()), (Status::Complete, 1, 11));
    assert_eq!(eager.decisions[0].0, 0);
    assert_eq!((patient.history.len(), patient.decisions.len()), (3, 0));
}

#[test]
fn a_relaxation_of_a_fork_has_the_jacobian_that_it_states() {
    let place = (Kind::Double, Device::Cpu);
    let chosen = Relaxation::new(&floor::Floor);
    let relaxations = Relaxations::new(&chosen, vec![table("alpha", 2, 3)], (0, 1), place).unwrap();
    let draw = Draw::Part(Role::Alpha, 0);
    let alpha = Tensor::from_slice(&[0.2, -0.1, 0.5, 1.0, -2.0, 0.3]);
    let m = |alpha: &Tensor| relaxations.weights(alpha, draw).unwrap();
    let sums = m(&alpha).view([2, 3]).sum_dim_intlist([1i64].as_slice(), false, Kind::Double);
    assert!((sums - 1.0).abs().max().double_value(&[]) < 1e-14);
    assert!(m(&alpha).min().double_value(&[]) > 0.1 / 3.0);
    let gradient = Tensor::from_slice(&[1.0, 2.0, -1.0, 0.5, 0.0, 3.0]);
    let found = relaxations.backward(&alpha, &m(&alpha), &gradient, draw).unwrap();
    for index in 0..6 {
        let moved = |by: f64| {
            let alpha = alpha.copy();
            let _ = alpha.get(index).fill_(alpha.double_value(&[index]) + by);
            m(&alpha)
        };
        let numeric = ((moved(1e-6) - moved(-1e-6)) * &gradient).sum(None).double_value(&[]) / 2e-6;
        assert!((found.double_value(&[index]) - numeric).abs() < 1e-9, "α[{index}]");
    }
}
