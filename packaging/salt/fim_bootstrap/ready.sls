{%- from 'fim_bootstrap/map.jinja' import fim with context %}
include:
  - fim_bootstrap.install

fim-bootstrap-ready:
  fim_bootstrap.ready:
    - binary: {{ fim.binary }}
    - require:
      - sls: fim_bootstrap.install
