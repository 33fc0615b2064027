include:
  - fim_bootstrap.install
  - fim_bootstrap.ready
