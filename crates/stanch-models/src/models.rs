//! Finding a service and an operation by the names that people write.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::blob::{Blob, BlobError, Source};
use crate::endpoint::{self, Endpoint, EndpointError, EndpointSettings, Partitions, RuleSet};
use crate::iam::{self, IamService};
use crate::names;
use crate::service::{Operation, Service};

static DATA: &[u8] = include_bytes!("../data/models.bin");

/// The file with the services of a program that does not carry them all: what [`Models::only`] writes.
pub const FILE: &str = "models.bin";

/// The services that can be called: AWS's, and those that a user brought.
///
/// Making one costs microseconds; a service is decoded when it is first asked for, and kept.
#[derive(Debug)]
pub struct Models {
    blob: Blob,
    brought: BTreeMap<Box<str>, Arc<Service>>,
    decoded: Mutex<HashMap<Box<str>, Option<Arc<Service>>>>,
    rules: Mutex<HashMap<Box<str>, Option<Arc<RuleSet>>>>,
    partitions: OnceLock<Partitions>,
    iam: Mutex<HashMap<Box<str>, Option<Arc<IamService>>>>,
}

/// An operation of a service.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The service.
    pub service: Arc<Service>,
    place: usize,
}

impl Resolved {
    /// The operation.
    #[expect(
        clippy::indexing_slicing,
        reason = "the place was found in this very service"
    )]
    pub fn operation(&self) -> &Operation {
        &self.service.operations[self.place]
    }
}

/// Why a name leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// No such service.
    #[error("there is no AWS service `{name}`")]
    UnknownService {
        /// As it was written.
        name: Box<str>,
        /// The most similar names, the best first; often none.
        nearest: Vec<Box<str>>,
    },
    /// No such operation.
    #[error("`{service}` has no operation `{name}`")]
    UnknownOperation {
        /// The service.
        service: Box<str>,
        /// As it was written.
        name: Box<str>,
        /// The most similar names, the best first; often none.
        nearest: Vec<Box<str>>,
    },
    /// The embedded data is not what was compiled in.
    #[error(transparent)]
    Damaged(#[from] BlobError),
}

impl LookupError {
    /// What to write instead.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownService { nearest, .. } | Self::UnknownOperation { nearest, .. } => {
                names::did_you_mean(nearest)
            }
            Self::Damaged(_) => None,
        }
    }
}

impl Models {
    /// The services of the pinned botocore release.
    ///
    /// # Errors
    /// When the data in the binary is damaged.
    pub fn embedded() -> Result<Self, BlobError> {
        Self::read(DATA)
    }

    /// Those that [`Models::only`] has written.
    ///
    /// # Errors
    /// When it has not.
    pub fn read(bytes: &'static [u8]) -> Result<Self, BlobError> {
        Ok(Self {
            blob: Blob::open(bytes)?,
            brought: BTreeMap::new(),
            decoded: Mutex::default(),
            rules: Mutex::default(),
            partitions: OnceLock::new(),
            iam: Mutex::default(),
        })
    }

    /// Some of the services, as bytes, for a program that shall not carry all of them, with the IAM actions
    /// that their calls need and those behind the prefixes of `allowed`. What a user brought is not among
    /// them.
    ///
    /// # Errors
    /// When there is no such service, or the data in the binary is damaged.
    pub fn only(
        &self,
        services: &BTreeSet<&str>,
        allowed: &BTreeSet<&str>,
    ) -> Result<Vec<u8>, LookupError> {
        let mut keys: BTreeSet<String> = allowed.iter().map(|name| format!("iam/{name}")).collect();
        for name in services {
            let service = self.service(name)?;
            let name = &service.name;
            keys.extend([format!("service/{name}"), format!("rules/{name}")]);
            let prefixes = iam::prefixes_of(&service).into_iter();
            keys.extend(prefixes.map(|prefix| format!("iam/{prefix}")));
        }
        let blob = self
            .blob
            .only(|key| keys.contains(key) || !key.contains('/'));
        Ok(blob?)
    }

    /// Adds a service, or replaces the one of the same name.
    pub fn bring(&mut self, service: Service) {
        self.brought.insert(service.name.clone(), Arc::new(service));
    }

    /// The names of all services, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .blob
            .keys("service/")
            .chain(self.brought.keys().map(|n| &**n))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The service of this name; blanks around it and its case do not matter.
    ///
    /// # Errors
    /// When there is none.
    pub fn service(&self, name: &str) -> Result<Arc<Service>, LookupError> {
        let wanted = names::service(name);
        if let Some(service) = self.brought.get(&*wanted) {
            return Ok(service.clone());
        }
        self.kept(&self.decoded, "service", &wanted)?
            .ok_or_else(|| LookupError::UnknownService {
                name: name.into(),
                nearest: names::nearest(&wanted, self.names()),
            })
    }

    /// The operation, by the names that boto3 and Automation documents write:
    /// `s3` `GetObject`, `EC2` `describe_instances`, `backup` `startBackupJob`.
    ///
    /// # Errors
    /// When there is no such service or operation.
    pub fn resolve(&self, service: &str, operation: &str) -> Result<Resolved, LookupError> {
        let service = self.service(service)?;
        let place =
            names::operation(&service, operation).ok_or_else(|| LookupError::UnknownOperation {
                service: service.name.clone(),
                name: operation.into(),
                nearest: names::nearest(
                    operation.trim(),
                    service.operations.iter().map(|o| &*o.name),
                ),
            })?;
        Ok(Resolved { service, place })
    }

    /// Where a call goes and how it is signed. `input` has the model's names.
    ///
    /// # Errors
    /// When the service has no such endpoint, or no region is given and it needs one.
    pub fn endpoint(
        &self,
        service: &Service,
        operation: &Operation,
        input: &Map<String, Value>,
        settings: &EndpointSettings<'_>,
    ) -> Result<Endpoint, EndpointError> {
        let rules = self.rules(&service.name)?;
        let partitions = self.partitions()?;
        endpoint::resolve(
            rules.as_deref(),
            partitions,
            service,
            operation,
            input,
            settings,
        )
    }

    /// AWS's partitions and their regions.
    ///
    /// # Errors
    /// When the data in the binary is damaged.
    pub fn partitions(&self) -> Result<&Partitions, BlobError> {
        if let Some(partitions) = self.partitions.get() {
            return Ok(partitions);
        }
        let partitions = self.blob.get("partitions")?.ok_or(BlobError::Head)?;
        Ok(self.partitions.get_or_init(|| partitions))
    }

    /// The packages that the embedded data was compiled from: name, version, digest of the archive.
    pub fn sources(&self) -> &[Source] {
        &self.blob.index().sources
    }

    fn rules(&self, service: &str) -> Result<Option<Arc<RuleSet>>, BlobError> {
        self.kept(&self.rules, "rules", service)
    }

    /// The actions and resources behind an IAM prefix; nothing where AWS has no such.
    ///
    /// # Errors
    /// When the data in the binary is damaged.
    pub fn iam(&self, prefix: &str) -> Result<Option<Arc<IamService>>, BlobError> {
        self.kept(&self.iam, "iam", prefix)
    }

    /// Decodes once, and remembers what is not there as well.
    fn kept<T: DeserializeOwned>(
        &self,
        kept: &Mutex<HashMap<Box<str>, Option<Arc<T>>>>,
        kind: &str,
        name: &str,
    ) -> Result<Option<Arc<T>>, BlobError> {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = kept.get(name) {
            return Ok(value.clone());
        }
        let value = self.blob.get::<T>(&format!("{kind}/{name}"))?.map(Arc::new);
        kept.insert(name.into(), value.clone());
        Ok(value)
    }
}
