{%- from 'fim_bootstrap/map.jinja' import fim, option_file, option_lines with context %}
fim-bootstrap-binary:
  fim_bootstrap.installed:
    - name: {{ fim.binary }}
    - source: {{ fim.source | json }}
    - sha256: {{ fim.sha256 | string | json }}

fim-bootstrap-options:
  fim_bootstrap.configured:
    - name: {{ option_file }}
    - lines: {{ option_lines | json }}
