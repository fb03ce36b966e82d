//! Python loaders as the engine's sources, and the choice between them and device-resident arrays.

use pyo3::prelude::*;
use tch::Tensor;

use super::data::{PyArrays, PyTokens};
use super::errors::{from_python, to_python};
use super::tensor::PyTensor;
use crate::config::{Augment, SearchConfig};
use crate::data::{ArraySource, Augmentation, Batch, Expected, Source, check_labels};
use crate::error::{Error, Result};

/// A Python object with `batches`, `start`, `next` and `close`.
struct PySource {
    object: Py<PyAny>,
    expected: Expected,
    what: &'static str,
    batches: Option<usize>,
    number: usize,
}

impl PySource {
    fn new(object: &Bound<'_, PyAny>, expected: Expected, what: &'static str) -> PyResult<Self> {
        let batches = object.call_method0("batches")?.extract()?;
        Ok(PySource { object: object.clone().unbind(), expected, what, batches, number: 0 })
    }
}

impl Source for PySource {
    fn batches(&self) -> Option<usize> {
        self.batches
    }

    fn start(&mut self, index: u64, skip: usize) -> Result<()> {
        self.number = skip;
        let started = Python::attach(|py| self.object.call_method1(py, "start", (index, skip)).map(drop));
        started.map_err(from_python)
    }

    fn next(&mut self) -> Result<Option<Batch>> {
        let pair = Python::attach(|py| -> PyResult<Option<(Tensor, Tensor)>> {
            let pair: Option<(PyTensor, PyTensor)> = self.object.bind(py).call_method0("next")?.extract()?;
            Ok(pair.map(|(x, y)| (x.0, y.0)))
        });
        let Some((x, y)) = pair.map_err(from_python)? else { return Ok(None) };
        let what = format!("{} batch {}", self.what, self.number);
        self.number += 1;
        self.expected.admit(&x, &y, &what).map(Some)
    }
}

impl Drop for PySource {
    fn drop(&mut self) {
        Python::attach(|py| {
            if let Err(error) = self.object.call_method0(py, "close") {
                error.write_unraisable(py, Some(self.object.bind(py)));
            }
        });
    }
}

/// The source behind `object`: `Tokens`, `Arrays`, or anything that speaks the protocol.
pub fn source(
    object: &Bound<'_, PyAny>,
    config: &SearchConfig,
    expected: &Expected,
    what: &'static str,
) -> PyResult<Box<dyn Source + Send>> {
    let (shape, classes, kind, device) = match (expected, object.cast::<PyTokens>()) {
        (Expected::Words { words, bptt, device }, Ok(tokens)) => {
            let source =
                tokens.get().source(*words, *bptt, config.optimisation.seed, *device, &format!("the {what} text"));
            return Ok(Box::new(source.map_err(to_python)?));
        }
        (Expected::Images { shape, classes, kind, device }, Err(_)) => (shape, *classes, *kind, *device),
        _ => return Err(to_python(Error::data("a recurrent space reads texts, and a convolutional one images"))),
    };
    let Ok(arrays) = object.cast::<PyArrays>() else {
        return Ok(Box::new(PySource::new(object, expected.clone(), what)?));
    };
    let given = arrays.get();
    let build = || -> Result<ArraySource> {
        let arrays = given.arrays.lock().map_err(|_| Error::engine("the data set is in use elsewhere"))?;
        let size = arrays.x.size();
        if size[1..] != *shape {
            return Err(Error::data(format!("{what} images are {size:?}; expected [N, C, H, W] with {shape:?}")));
        }
        check_labels(&arrays.y, classes, &format!("{what} data"))?;
        let augmentation =
            Augmentation { crop_and_flip: config.data.augment == Augment::Cifar, cutout: config.data.cutout };
        let arrays = arrays.to_device(device)?;
        let indices = given.indices.clone();
        ArraySource::new(arrays, indices, given.role, given.batch_size, augmentation, config.optimisation.seed, kind)
    };
    Ok(Box::new(build().map_err(to_python)?))
}
