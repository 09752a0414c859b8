//! Where the database is: command line flags and the password's file.

use std::path::{Path, PathBuf};

use super::error::DatabaseError;

/// Where the database is and who we are there, from the command line.
#[derive(Debug, Clone, clap::Args)]
pub struct DatabaseArgs {
    /// PostgreSQL's host name or address, or the directory of its Unix socket.
    #[arg(long, env = "OBSERVASTACK_DATABASE_HOST", default_value = "127.0.0.1")]
    pub database_host: String,
    /// PostgreSQL's port.
    #[arg(long, env = "OBSERVASTACK_DATABASE_PORT", default_value_t = 5440)]
    pub database_port: u16,
    /// The database's name.
    #[arg(long, env = "OBSERVASTACK_DATABASE_NAME", default_value = "shop")]
    pub database_name: String,
    /// The role to log in as [default: the service's own name].
    #[arg(long, env = "OBSERVASTACK_DATABASE_USER")]
    pub database_user: Option<String>,
    /// File with the role's password [default: `database-password` in $CREDENTIALS_DIRECTORY, if it is there].
    #[arg(long, env = "OBSERVASTACK_DATABASE_PASSWORD_FILE")]
    pub database_password_file: Option<PathBuf>,
}

impl DatabaseArgs {
    /// The driver's settings for `role`; reads the password's file now, so that a missing one stops the start.
    pub(super) fn driver_config(
        &self,
        role: &str,
    ) -> Result<tokio_postgres::Config, DatabaseError> {
        let user = self.database_user.as_deref().unwrap_or(role);
        let mut config = tokio_postgres::Config::new();
        config
            .host(&self.database_host)
            .port(self.database_port)
            .dbname(&self.database_name)
            .user(user)
            .application_name(format!("observastack-{role}"));
        if let Some(password) = self.password()? {
            config.password(password);
        }
        Ok(config)
    }

    fn password(&self) -> Result<Option<String>, DatabaseError> {
        if let Some(path) = &self.database_password_file {
            return read_password(path).map(Some);
        }
        let Some(directory) = std::env::var_os("CREDENTIALS_DIRECTORY") else {
            return Ok(None);
        };
        let path = Path::new(&directory).join("database-password");
        // A credential that the unit does not pass is no error: the cluster may trust the socket's peer.
        if path.exists() {
            read_password(&path).map(Some)
        } else {
            Ok(None)
        }
    }
}

fn read_password(path: &Path) -> Result<String, DatabaseError> {
    let text = std::fs::read_to_string(path).map_err(|source| DatabaseError::PasswordFile {
        path: path.to_owned(),
        source,
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(password_file: Option<PathBuf>) -> DatabaseArgs {
        DatabaseArgs {
            database_host: "127.0.0.1".into(),
            database_port: 5440,
            database_name: "shop".into(),
            database_user: None,
            database_password_file: password_file,
        }
    }

    #[test]
    fn password_file_loses_its_newline_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        std::fs::write(&path, " pass word \r\n").unwrap();
        let config = args(Some(path)).driver_config("api").unwrap();
        assert_eq!(config.get_password(), Some(&b" pass word "[..]));
        assert_eq!(config.get_user(), Some("api"));
    }

    #[test]
    fn missing_password_file_is_named() {
        let error = args(Some("/nonexistent/password".into()))
            .driver_config("api")
            .unwrap_err();
        assert!(
            error.to_string().contains("/nonexistent/password"),
            "{error}"
        );
    }
}
