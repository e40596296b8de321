//! What a function reaches the outside through.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use stanch_aws::{Client, Environment, MemberSessions, SessionsSetup, Setup, SystemRandom};
use stanch_catalog::Catalog;
use stanch_ledger::{Directives, DynamoLedger, Ledger, Retention, Tables};
use stanch_models::Models;
use stanch_types::{Api, Clock, Region, Sessions, chain};

use crate::{Failure, Segments, Variables};

/// A function's surroundings. Nothing in it is decoded or asked for before it is needed.
#[derive(Clone)]
pub struct World {
    /// Variables.
    pub environment: Environment,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// AWS.
    pub reach: Arc<dyn Reach>,
    /// Standard output, where CloudWatch takes lines from.
    pub print: Arc<dyn Print>,
}

/// Where lines go.
pub trait Print: Send + Sync {
    /// Writes one.
    fn line(&self, line: &str);
}

/// Standard output.
pub struct StandardOutput;

impl Print for StandardOutput {
    fn line(&self, line: &str) {
        // Nobody is left to be told if this fails.
        let _ = writeln!(io::stdout().lock(), "{line}");
    }
}

/// The record, as a function keeps it.
#[derive(Clone)]
pub struct Store {
    /// What happened.
    pub ledger: Arc<dyn Ledger>,
    /// What people order.
    pub directives: Arc<dyn Directives>,
    /// The tables, which have to be put in order now and then; none where nothing has to be.
    pub tables: Option<Arc<DynamoLedger>>,
}

/// AWS as a function reaches it.
pub trait Reach: Send + Sync {
    /// The API models.
    ///
    /// # Errors
    /// They are damaged.
    fn models(&self) -> Result<Arc<Models>, Failure>;

    /// The remediations: those that Stanch ships, and those that the archive has beside them.
    ///
    /// # Errors
    /// One of these cannot be used.
    fn catalog(&self) -> Result<Arc<Catalog>, Failure> {
        Ok(Arc::new(Catalog::embedded()))
    }

    /// AWS with the function's own role; in its own region if none is named.
    ///
    /// # Errors
    /// The function's region is not known.
    fn own(&self, region: Option<&Region>) -> Result<Arc<dyn Api>, Failure>;

    /// Sessions in member accounts.
    ///
    /// # Errors
    /// The function's region is not known.
    fn members(&self, setup: SessionsSetup) -> Result<Arc<dyn Sessions>, Failure>;

    /// The record, in the tables that the function's variables name.
    ///
    /// # Errors
    /// A variable is missing.
    fn store(
        &self,
        variables: Variables<'_>,
        own: Arc<dyn Api>,
        retention: Retention,
    ) -> Result<Store, Failure>;

    /// What the requests of the current invocation say about their trace.
    fn trace(&self, header: Option<&str>);
}

/// The real one.
pub struct Aws {
    environment: Environment,
    clock: Arc<dyn Clock>,
    segments: Option<Segments>,
    client: OnceLock<Client>,
    models: OnceLock<Arc<Models>>,
}

impl Aws {
    /// AWS as `environment` says it is reached; X-Ray gets `segments`.
    #[must_use]
    pub fn new(
        environment: Environment,
        clock: Arc<dyn Clock>,
        segments: Option<Segments>,
    ) -> Self {
        Self {
            environment,
            clock,
            segments,
            client: OnceLock::new(),
            models: OnceLock::new(),
        }
    }

    fn client(&self) -> Result<&Client, Failure> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let region = self.environment.region().ok_or_else(|| {
            Failure::configuration("no region is given").hint("Lambda sets `AWS_REGION`")
        })?;
        let setup = Setup::new(
            self.environment.clone(),
            self.models()?,
            Arc::clone(&self.clock),
            Arc::new(SystemRandom),
        );
        Ok(self.client.get_or_init(|| Client::new(setup, region)))
    }

    /// A path in the archive.
    fn archived(&self, path: &str) -> PathBuf {
        let root = self.environment.get("LAMBDA_TASK_ROOT").unwrap_or(".");
        Path::new(root).join(path)
    }

    /// The models of the services that are called.
    fn read_models(&self) -> Result<Models, Failure> {
        let path = self.archived(stanch_models::FILE);
        let bytes = fs::read(&path).map_err(|error| unreadable(&path, &error))?;
        // Kept as long as the process, as what it calls is.
        Models::read(bytes.leak()).map_err(|error| unusable(chain(&error)))
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    unusable(format!("cannot read `{}`: {error}", path.display()))
}

fn unusable(error: String) -> Failure {
    Failure::new("Archive", error).hint("deploy an archive that `stanch deploy package` has made")
}

impl Reach for Aws {
    fn catalog(&self) -> Result<Arc<Catalog>, Failure> {
        let mut catalog = Catalog::embedded();
        let folder = self.archived("catalog");
        let files = match fs::read_dir(&folder) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Arc::new(catalog)),
            Err(error) => return Err(unreadable(&folder, &error)),
        };
        let mut own = Vec::new();
        for file in files {
            let path = file.map_err(|error| unreadable(&folder, &error))?.path();
            let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
            own.push((path.to_string_lossy().into_owned(), text));
        }
        own.sort();
        // They were proved before they were packed.
        match catalog.extend(own).first() {
            Some(wrong) => Err(unusable(wrong.to_string())),
            None => Ok(Arc::new(catalog)),
        }
    }

    fn models(&self) -> Result<Arc<Models>, Failure> {
        if let Some(models) = self.models.get() {
            return Ok(Arc::clone(models));
        }
        let models = self.read_models()?;
        Ok(Arc::clone(self.models.get_or_init(|| Arc::new(models))))
    }

    fn own(&self, region: Option<&Region>) -> Result<Arc<dyn Api>, Failure> {
        let client = self.client()?;
        Ok(match region {
            Some(region) => Arc::new(client.in_region(region.clone())),
            None => Arc::new(client.clone()),
        })
    }

    fn members(&self, setup: SessionsSetup) -> Result<Arc<dyn Sessions>, Failure> {
        Ok(Arc::new(MemberSessions::new(self.client()?.clone(), setup)))
    }

    fn store(
        &self,
        variables: Variables<'_>,
        own: Arc<dyn Api>,
        retention: Retention,
    ) -> Result<Store, Failure> {
        let tables = Tables {
            audit: variables.text("DYNAMODB_TABLE")?.to_owned(),
            state: variables.text("STATE_TABLE")?.to_owned(),
            bucket: variables.optional("LEDGER_BUCKET").map(str::to_owned),
            retention,
        };
        let ledger = Arc::new(DynamoLedger::new(own, tables));
        Ok(Store {
            ledger: Arc::clone(&ledger) as Arc<dyn Ledger>,
            directives: Arc::clone(&ledger) as Arc<dyn Directives>,
            tables: Some(ledger),
        })
    }

    fn trace(&self, header: Option<&str>) {
        if let Some(segments) = &self.segments {
            segments.begin(header);
        }
        if let Ok(client) = self.client() {
            client.set_trace(header);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aws(root: &Path) -> Aws {
        let variables = [("LAMBDA_TASK_ROOT", root.to_string_lossy())];
        Aws::new(
            Environment::new(variables),
            Arc::new(stanch_aws::SystemClock::default()),
            None,
        )
    }

    #[test]
    fn the_archive_brings_models_and_remediations_of_ones_own() {
        let root = tempfile::tempdir().unwrap();
        let missing = aws(root.path()).models().unwrap_err();
        assert!(missing.to_string().contains("models.bin"), "{missing}");
        let models = Models::embedded()
            .unwrap()
            .only(&["s3"].into(), &[].into())
            .unwrap();
        fs::write(root.path().join(stanch_models::FILE), models).unwrap();
        assert_eq!(aws(root.path()).models().unwrap().names(), ["s3"]);

        let built_in = Catalog::embedded().len();
        assert_eq!(aws(root.path()).catalog().unwrap().len(), built_in);
        let text = Catalog::embedded()
            .text("SesRequireTls")
            .unwrap()
            .to_owned();
        let own = text
            .replace("SesRequireTls", "OurTls")
            .replace("SES.3", "Our.1")
            .replace("ses-sending-tls-required\nsources", "our-tls\nsources");
        let file = root.path().join("catalog/OurTls.yaml");
        fs::create_dir(root.path().join("catalog")).unwrap();
        fs::write(&file, own).unwrap();
        let catalog = aws(root.path()).catalog().unwrap();
        assert_eq!(catalog.len(), built_in + 1);
        assert!(catalog.get("OurTls").is_some());
        // What claims what another claims stops the function, as on one machine.
        fs::write(&file, text).unwrap();
        let twice = aws(root.path()).catalog().map(|_| ()).unwrap_err();
        assert!(twice.to_string().contains("SesRequireTls"), "{twice}");
    }
}
