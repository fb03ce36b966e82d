//! `search`: a configuration, three sources and an observer in; everything a run leaves out.

use std::collections::BTreeMap;

use numpy::IntoPyArray;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use tch::Kind;

use super::bridges::{PyObserver, criterion_of, recorder, source};
use super::entry;
use super::errors::to_python;
use super::precision::{form_cache, numbers};
use super::supernet::named_state;
use super::tensor::{device, device_name, to_dict};
use crate::config::SearchConfig;
use crate::data::{Expected, Source};
use crate::event::StopFlag;
use crate::nn::NetworkOptions;
use crate::plan::Plan;
use crate::search::{Outcome, Recorder, Sources, run, start};

#[pyfunction]
#[pyo3(signature = (config, train, valid, evaluation, observer, criterion))]
pub fn search<'py>(
    py: Python<'py>,
    config: &str,
    train: &Bound<'py, PyAny>,
    valid: &Bound<'py, PyAny>,
    evaluation: &Bound<'py, PyAny>,
    observer: Py<PyAny>,
    criterion: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let config = SearchConfig::from_json(config).map_err(to_python)?;
    let device = device(&config.device).map_err(to_python)?;
    let numbers = numbers(config.precision, device).map_err(to_python)?;
    let (kind, precision) = (numbers.kind, numbers.precision());
    let plan = Plan::of_config(&config).map_err(to_python)?;
    let expected = Expected::of_plan(&plan, config.bptt, kind, device);
    let mut train = source(train, &config, &expected, "training")?;
    let mut valid = source(valid, &config, &expected, "validation")?;
    let mut evaluation = source(evaluation, &config, &expected, "evaluation")?;
    let mut observer = PyObserver { object: observer, kind };
    let recorder = recorder(py, &config, device, criterion.is_some())?;
    let options = NetworkOptions::of_config(&config, numbers, device, criterion_of(criterion));
    let cache = form_cache(py, &config, &options)?;
    let (outcome, state, alphas, forms) = entry::engine(py, || {
        let (network, initial) = start(plan, &config, options, &cache, &mut observer)?;
        let sources =
            Sources { train: &mut *train as &mut dyn Source, valid: &mut *valid, evaluation: &mut *evaluation };
        let recorder = recorder.as_ref().map(|recorder| recorder as &dyn Recorder);
        let outcome = run(&*network, &config, initial, sources, &mut observer, &StopFlag::default(), recorder);
        // Loader threads end here, whatever happened, before the result is looked at.
        drop((train, valid, evaluation));
        let outcome = outcome?;
        let state = named_state(&*network, &outcome.state.w)?;
        let alphas = outcome.trajectory.tables(network.alphas())?;
        Ok((outcome, state, alphas, network.forms()))
    })?;
    let Outcome { status, error, trajectory, history, genotype, .. } = outcome;
    let result = PyDict::new(py);
    result.set_item("status", serde_json::json!(status).as_str())?;
    result.set_item("error", error.map(|e| to_python(e).into_value(py)))?;
    let arrays = PyDict::new(py);
    for (name, table) in alphas {
        match kind {
            Kind::Double => arrays.set_item(name, table.into_pyarray(py))?,
            _ => arrays.set_item(name, table.mapv(|a| a as f32).into_pyarray(py))?,
        }
    }
    result.set_item("alphas", arrays)?;
    result.set_item("steps", trajectory.steps)?;
    result.set_item("history", serde_json::json!(history).to_string())?;
    result.set_item("genotype", genotype.to_json())?;
    result.set_item("state_dict", to_dict(py, state)?)?;
    result.set_item("config", config.to_json())?;
    result.set_item("threads", tch::get_num_threads())?;
    let forms: BTreeMap<String, String> = forms.into_iter().map(|(site, form)| (site, form.to_string())).collect();
    result.set_item("forms", forms)?;
    result.set_item("device", device_name(device))?;
    result.set_item("precision", serde_json::json!(precision).as_str())?;
    Ok(result)
}
