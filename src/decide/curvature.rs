//! RobustDARTS (Zela et al., 2020), early stopping: the search ends when the curvature of the validation loss by α grows,
//! and its result is the state from before.
//!
//! A local average is the mean of the latest `window` measurements, fewer at the beginning but more than half of them. The
//! search ends when a local average is more than `ratio` times the one `back` measurements earlier. It returns to the
//! epoch in the middle of that earlier window, unless this is before the epoch `start`. The defaults are those of the
//! published code, which measures in every second epoch; the paper says 1/0.75 = 1.33 instead of 1.3.

use super::{AtEpochEnd, Decide};
use crate::arch::Decision;
use crate::error::Result;
use crate::event::EpochRecord;
use crate::variant::{Domain, Parameter, Spec, Variant};

pub struct Curvature;

impl Variant for Curvature {
    fn spec(&self) -> &'static Spec {
        &Spec {
            name: "curvature",
            parameters: &[
                Parameter { name: "window", default: 5.0, domain: Domain::Whole(1) },
                Parameter { name: "back", default: 4.0, domain: Domain::Whole(1) },
                Parameter { name: "ratio", default: 1.3, domain: Domain::Number(1.0, 1e6) },
                Parameter { name: "start", default: 10.0, domain: Domain::Whole(0) },
            ],
        }
    }
}

/// Epochs and curvatures of the measurements, those that are not finite left out.
fn measured(history: &[EpochRecord]) -> Vec<(usize, f64)> {
    let of = |record: &EpochRecord| Some((record.epoch, *record.diagnostics.get("curvature")?));
    history.iter().filter_map(of).filter(|(_, value)| value.is_finite()).collect()
}

/// The mean of the latest `window` of some measurements; None if there are at most half as many.
fn local_average(measured: &[(usize, f64)], window: usize) -> Option<f64> {
    let latest = &measured[measured.len().saturating_sub(window)..];
    let sum: f64 = latest.iter().map(|(_, value)| value).sum();
    (latest.len() > window / 2).then(|| sum / latest.len() as f64)
}

impl Decide for Curvature {
    fn keeps(&self, values: &[f64], curvature_every: Option<usize>) -> usize {
        let (window, back) = (values[0] as usize, values[1] as usize);
        (back + window / 2 + 1) * curvature_every.unwrap_or(1)
    }

    fn reads_curvature(&self) -> bool {
        true
    }

    fn decide(&self, at: &AtEpochEnd, values: &[f64]) -> Result<Vec<Decision>> {
        let (window, back) = (values[0] as usize, values[1] as usize);
        let (ratio, start) = (values[2], values[3] as usize);
        let measured = measured(at.history);
        if measured.last().is_none_or(|(epoch, _)| *epoch != at.epoch) {
            return Ok(Vec::new());
        }
        let earlier = &measured[..measured.len().saturating_sub(back)];
        let (Some(now), Some(before)) = (local_average(&measured, window), local_average(earlier, window)) else {
            return Ok(Vec::new());
        };
        let middle = earlier[earlier.len() - 1 - window / 2].0;
        // Where measurements are missing, the state after that epoch may not be kept any more.
        let every = measured.windows(2).map(|pair| pair[1].0 - pair[0].0).min().unwrap_or(1);
        let missing = at.epoch - middle > (back + window / 2) * every;
        if missing || before <= 0.0 || now <= ratio * before || middle < start {
            return Ok(Vec::new());
        }
        let reason = format!("the curvature grew from {before:.4} to {now:.4}, {:.2} times", now / before);
        Ok(vec![Decision::RollBack { epoch: middle + 1 }, Decision::Stop { reason }])
    }
}
