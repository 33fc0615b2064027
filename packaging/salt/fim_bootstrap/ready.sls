{%- from 'fim_bootstrap/map.jinja' import fim, option_lines with context %}
include:
  - fim_bootstrap.install

fim-bootstrap-ready:
  fim_bootstrap.ready:
    - binary: {{ fim.binary }}
    # where a dry run finds what is not in place yet
    - source: {{ fim.source | json }}
    - sha256: {{ fim.sha256 | string | json }}
    - option_lines: {{ option_lines | json }}
    - require:
      - sls: fim_bootstrap.install
