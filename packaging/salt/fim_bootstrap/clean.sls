{#- Packages stay; what was edited since stays, too, and is told. #}
{%- from 'fim_bootstrap/map.jinja' import fim, option_file, option_lines with context %}
fim-bootstrap-reverted:
  fim_bootstrap.reverted:
    - binary: {{ fim.binary }}

fim-bootstrap-removed:
  file.absent:
    - name: {{ fim.binary }}
    - require:
      - fim_bootstrap: fim-bootstrap-reverted

fim-bootstrap-options:
  fim_bootstrap.configured:
    - name: {{ option_file }}
    - lines: {{ option_lines[:1] | json }}
    - require:
      - fim_bootstrap: fim-bootstrap-reverted
