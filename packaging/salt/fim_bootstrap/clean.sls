{#- Packages stay; what was edited since stays, too, and is told. #}
{%- from 'fim_bootstrap/map.jinja' import fim with context %}
fim-bootstrap-reverted:
  cmd.run:
    - name: {{ fim.binary }} revert --format json
    - stateful: true
    - onlyif: test -x {{ fim.binary }}

fim-bootstrap-removed:
  file.absent:
    - names:
      - {{ fim.binary }}
      - /etc/fim-bootstrap/config.toml
    - require:
      - cmd: fim-bootstrap-reverted
