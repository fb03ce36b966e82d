//! The end of an epoch: evaluation on the validation examples, and the record of the epoch.

use std::time::Instant;

use super::run::Run;
use super::trajectory;
use crate::arch;
use crate::error::{Error, Result};
use crate::event::{EpochRecord, Event};
use crate::nn::Mode;

impl Run<'_> {
    /// Evaluates, records and saves the current epoch, whose learning rate was `lr`.
    pub(super) fn end_epoch(&mut self, lr: f64) -> Result<()> {
        let started = Instant::now();
        let epoch = self.progress.epoch;
        let (valid_loss, valid_accuracy) = self.evaluate(epoch)?;
        let alphas = trajectory::current(self.network.alphas(), &self.state.alpha)?;
        let genotype = arch::derive(&self.config.space, &alphas, None)?;
        let sums = self.progress.sums;
        let record = EpochRecord {
            epoch,
            train_loss: sums.mean_loss(),
            valid_loss,
            train_accuracy: sums.accuracy(),
            valid_accuracy,
            learning_rate: lr,
            entropy: alphas.iter().map(|(name, table)| (name.clone(), arch::entropy(table.view()))).collect(),
            skip_connections: genotype.skip_connections(),
            seconds: sums.seconds + started.elapsed().as_secs_f64(),
        };
        self.record_alpha()?;
        self.progress.finish_epoch(record.clone());
        self.save()?;
        self.observer.notify(&Event::Epoch { record: &record, genotype: &genotype, alphas: &alphas })
    }

    /// The mean loss and accuracy on the validation examples, with running statistics.
    fn evaluate(&mut self, epoch: usize) -> Result<(f64, f64)> {
        let _guard = tch::no_grad_guard();
        let (mut loss, mut correct, mut examples, mut carried) = (0.0, 0, 0, None);
        // A resumed search may begin here.
        self.network.draw(self.state.step)?;
        let m = self.relaxed.mean(&self.state.alpha)?;
        self.sources.evaluation.start(epoch as u64, 0)?;
        while let Some(mut batch) = self.sources.evaluation.next()? {
            self.observer.poll()?;
            batch.carried = carried.filter(|_| !batch.begins);
            let n = batch.examples();
            self.evaluated_batch = Some(batch.width());
            let pass = self.network.loss(&self.state.w, &m, &batch, Mode::Evaluation)?;
            loss += pass.value.f_double_value(&[])? * n as f64;
            correct += pass.correct.f_int64_value(&[])?;
            examples += n;
            carried = pass.carried;
        }
        self.evaluated_batch = None;
        if examples == 0 {
            return Err(Error::data("expected at least one validation batch for evaluation, got none"));
        }
        Ok((loss / examples as f64, correct as f64 / examples as f64))
    }
}
